"""Goes through the variants, each within its time; one that fails says why in its line and stops nothing."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from transformers.models.diffusion_gemma.configuration_diffusion_gemma import DiffusionGemmaConfig

from inference.bench.case import Case, Scene
from inference.bench.clock import Timing
from inference.bench.floor import Floor, StepBytes, bandwidth, expected_hits, measured_hits
from inference.bench.heartbeat import heartbeat
from inference.bench.ours import FILL_CANVAS, FILL_STEPS, Ours
from inference.bench.random_model import random_model, refuse_without_room
from inference.bench.random_weights import RandomWeights
from inference.bench.report import Report, Row
from inference.bench.theirs import Theirs
from inference.bench.time_limit import time_limit
from inference.models.lean_denoiser import LeanDenoiser
from inference.models.linear import Precision
from inference.models.text_config import TextConfig

OURS = ("ours", "ours_graph", "lean", "graph")
THEIRS = ("decoder", "generate")


@dataclass(frozen=True)
class Plan:
    """What to measure: names of methods of :class:`Ours` and :class:`Theirs`, precisions of ours, and transformers'
    implementations of the experts; the ``compiled`` cases come last, since they take longest."""

    cases: Sequence[Case]
    variants: Sequence[str]
    precisions: Sequence[str]
    experts: Sequence[str]
    compiled: Sequence[Case]


@dataclass
class Runner:
    """No variant starts after ``until``, a ``time.monotonic()``, and none takes longer than ``variant_s`` seconds."""

    report: Report
    config: DiffusionGemmaConfig
    scene: Scene
    dtype: torch.dtype
    until: float
    variant_s: float
    seed: int = 0
    _hits: dict[Case, float] = field(default_factory=dict)
    _floors: dict[str, Floor] = field(default_factory=dict)

    def run(self, plan: Plan) -> None:
        """Ours, then transformers', and ours in further precisions: one model on the device at a time."""
        self._measure_memory(plan.precisions)
        first, *further = plan.precisions
        self._run_ours(plan, first)
        self._run_theirs(plan, first)
        for precision in further:
            self._run_ours(plan, precision)
        self.report.summarise()

    @property
    def text(self) -> TextConfig:
        """The shape of the text model."""
        return TextConfig.from_mapping(self.config.text_config.to_dict())

    def _measure_memory(self, precisions: Sequence[str]) -> None:
        with heartbeat("measuring the memory"):
            speed = bandwidth(self.scene.clock)
        self.report.note(bandwidth_copy_gb_s=round(speed.copy, 1), bandwidth_read_gb_s=round(speed.read, 1))
        for precision in precisions:
            dtype = {Precision.BF16: torch.bfloat16, Precision.FP32: torch.float32}.get(
                Precision(precision), self.dtype
            )
            step = StepBytes.of(self.text, dtype, fp8=precision == Precision.FP8)
            floor = self._floors[precision] = Floor(step, speed)
            self.report.note(**{f"{precision}_step": f"{step.total / 1e9:.2f} GB, floor {floor.ms():.3f} ms"})

    def _run_ours(self, plan: Plan, precision: str) -> None:
        """Every case with the lean model, kept in ``precision``."""
        chosen = [name for name in OURS if name in plan.variants]
        blank = Row(variant="", how=precision, canvas=FILL_CANVAS, batch=1)
        try:
            with heartbeat(f"making weights in {precision}"):
                ours = self._ours(precision)
            if not self._hits:
                self._count_hits(ours, {*plan.cases, *plan.compiled})
        except Exception as error:  # of memory or of torch: the others have their turn
            self.report.add(replace(blank, variant="ours", problem=reason(error)))
            return
        if chosen:
            self._time(replace(blank, variant="encode", canvas=self.scene.prompt_tokens), ours.encode)
            self._time(replace(blank, variant=f"fill {FILL_STEPS}"), ours.fill)
        for variant in chosen:
            for case in plan.cases:
                self._time_case(ours, variant, case, precision, precision)
        del ours
        _free()

    def _run_theirs(self, plan: Plan, precision: str) -> None:
        """Every case with transformers' model, which knows no other precision than the dtype's."""
        chosen = [name for name in THEIRS if name in plan.variants]
        if not chosen and not plan.compiled:
            return
        try:
            with heartbeat("making transformers' model"):
                model = random_model(self.config, self.scene.clock.device, self.dtype, seed=self.seed)
                theirs = Theirs(model, self.scene)
        except Exception as error:
            blank = Row(variant="generate", how=plan.experts[0], canvas=0, batch=0)
            self.report.add(replace(blank, problem=reason(error)))
            return
        for experts in plan.experts:
            theirs.model.set_experts_implementation(experts)
            for variant in chosen:
                for case in plan.cases:
                    self._time_case(theirs, variant, case, experts, precision)
        theirs.model.set_experts_implementation(plan.experts[0])
        for case in plan.compiled:
            self._time_case(theirs, "compiled", case, plan.experts[0], precision)
        del theirs, model
        _free()

    def _ours(self, precision: str) -> Ours:
        device = self.scene.clock.device
        weights = RandomWeights(self.text, device, self.dtype, seed=self.seed)
        refuse_without_room(weights.size_bytes, device)
        described = {"text_config": self.config.text_config.to_dict()}
        denoiser = LeanDenoiser.load(described, weights, device, self.dtype, lambda *_: None, precision)
        return Ours(denoiser, self.scene)

    def _count_hits(self, ours: Ours, cases: set[Case]) -> None:
        """How many experts each case hits, and how many it would if they were chosen evenly."""
        text, expected = self.text, {}
        for case in sorted(cases, key=lambda case: (case.batch, case.canvas)):
            with heartbeat(f"counting the experts of {case}"):
                self._hits[case] = measured_hits(ours.denoiser, *ours.inputs(case))
            expected[str(case)] = round(expected_hits(text.experts, text.experts_per_token, case.tokens), 3)
        self.report.note(experts_hit_if_chosen_evenly=expected)

    def _time_case(self, subject: Ours | Theirs, variant: str, case: Case, how: str, precision: str) -> None:
        floor, hit = self._floors.get(precision), self._hits.get(case, 1.0)
        row = Row(
            variant=variant,
            how=how,
            canvas=case.canvas,
            batch=case.batch,
            experts_hit=round(hit, 3),
            floor_ms=round(floor.ms(hit), 4) if floor else None,
        )
        self._time(row, lambda: getattr(subject, variant)(case))

    def _time(self, row: Row, measure: Callable[[], Timing]) -> None:
        """Time one variant, within what is left of the time."""
        left = min(self.until - time.monotonic(), self.variant_s)
        if left <= 0:
            self.report.add(replace(row, problem="left out: the time is up"))
            return
        cuda = self.scene.clock.device.type == "cuda"
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            with heartbeat(f"{row.variant} {row.how} {row.canvas}x{row.batch}"), time_limit(left):
                row = replace(row, timing=measure())
        except Exception as error:  # whatever torch, a kernel or a compiler may raise
            row = replace(row, problem=reason(error))
        peak_gb = round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None
        self.report.add(replace(row, peak_gb=peak_gb))


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150]}" if lines else type(error).__name__


def _free() -> None:
    """Give the device's memory back before the next model comes."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
