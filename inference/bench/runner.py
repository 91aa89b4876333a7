"""Goes through the variants, each within its time; one that fails says why in its line and stops nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from inference.bench.clock import Clock, Timing
from inference.bench.floor import Floor, StepBytes, bandwidth, expected_hits, measured_hits
from inference.bench.report import Report, Row
from inference.bench.time_limit import time_limit
from inference.bench.variants import FILL_CANVAS, FILL_STEPS, Case, Variants


@dataclass
class Runner:
    """No variant starts after ``until``, a ``time.monotonic()``, and none takes longer than ``variant_s`` seconds."""

    report: Report
    variants: Variants
    clock: Clock
    until: float
    variant_s: float
    _blanks: dict[Case, Row] = field(default_factory=dict)

    def run(
        self, cases: Sequence[Case], variants: Sequence[str], experts: Sequence[str], compiled: Sequence[Case]
    ) -> None:
        """Floor, whole fill, every case with every kind of experts, and the compiled ones last: they take longest.

        ``variants`` are names of methods of :class:`Variants`, ``experts`` those of transformers' implementations.
        """
        self._prepare({*cases, *compiled}, experts[0])
        blank = Row(variant="", experts=experts[0], canvas=FILL_CANVAS, batch=1)
        self._time(replace(blank, variant="encode", canvas=self.variants.prompt_tokens), self.variants.encode)
        self._time(replace(blank, variant=f"fill {FILL_STEPS}"), self.variants.fill)
        for name in experts:
            self.variants.model.set_experts_implementation(name)
            for variant in variants:
                for case in cases:
                    self._time_case(replace(self._blanks[case], variant=variant, experts=name), case)
        self.variants.model.set_experts_implementation(experts[0])
        for case in compiled:
            self._time_case(replace(self._blanks[case], variant="compiled", experts=experts[0]), case)
        self.report.summarise()

    def _prepare(self, cases: set[Case], experts: str) -> None:
        """Measure the memory, and count for each case the experts that it hits."""
        model, text = self.variants.model, self.variants.model.config.text_config
        floor = Floor(StepBytes.of(model.model.decoder), bandwidth(self.clock))
        copy, read = floor.bandwidth.copy, floor.bandwidth.read
        self.report.note(bandwidth_copy_gb_s=round(copy, 1), bandwidth_read_gb_s=round(read, 1))
        self.report.note(step_reads_gb=round(floor.step.total / 1e9, 2), floor_ms=round(floor.ms(), 3))
        model.set_experts_implementation(experts)
        expected = {}
        for case in sorted(cases, key=lambda case: (case.batch, case.canvas)):
            share = expected_hits(text.num_experts, text.top_k_experts, case.tokens)
            hit = measured_hits(model.model.decoder, text.num_experts, self.variants.forward(case))
            expected[str(case)] = f"{share:.3f}, floor {floor.ms(share):.3f} ms"
            row = Row(variant="", experts="", canvas=case.canvas, batch=case.batch)
            self._blanks[case] = replace(row, experts_hit=round(hit, 3), floor_ms=round(floor.ms(hit), 4))
        self.report.note(experts_hit_if_chosen_evenly=expected)

    def _time_case(self, row: Row, case: Case) -> None:
        self._time(row, lambda: getattr(self.variants, row.variant)(case))

    def _time(self, row: Row, measure: Callable[[], Timing]) -> None:
        """Time one variant, within what is left of the time."""
        left = min(self.until - time.monotonic(), self.variant_s)
        if left <= 0:
            self.report.add(replace(row, problem="left out: the time is up"))
            return
        cuda = self.clock.device.type == "cuda"
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            with time_limit(left):
                row = replace(row, timing=measure())
        except Exception as error:  # whatever torch, a kernel or a compiler may raise
            row = replace(row, problem=_reason(error))
        peak_gb = round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None
        self.report.add(replace(row, peak_gb=peak_gb))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150]}" if lines else type(error).__name__
