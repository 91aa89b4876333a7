"""Fills every problem's gap, one after the other, and finds out whether the program then passes its tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.protocol import Fixed, InfillRequest, InfillResult, Masked
from lsp_server.bench.problem import Problem
from lsp_server.bench.sandbox import Verdict, run_program
from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.suggest import suggest
from lsp_server.worker_client import WorkerClient, WorkerError

DEADLINE_MS = 60_000


@dataclass(frozen=True)
class Outcome:
    """What became of one problem.

    ``spoke`` is False when there was nothing to show: then ``confidence`` is 0. ``reason`` says why it did not pass,
    ``ms`` is the time from asking to the answer, ``floor`` the confidence below which the model would rather be silent.
    """

    task_id: str
    fill: str
    spoke: bool
    passed: bool
    exact: bool
    reason: str
    confidence: float
    floor: float
    steps: int
    ms: float


@dataclass(frozen=True)
class Fill:
    """A fill before it is judged: the ``document`` with it in its place, None for silence and ``reason`` says why."""

    text: str = ""
    document: str | None = None
    confidence: float = 0.0
    result: InfillResult | None = None
    reason: str = "nothing to say"


class Filler(Protocol):
    """A way to have a gap filled."""

    async def fill(self, problem: Problem) -> Fill:
        """Fill one gap. Raises :class:`WorkerUnavailable` and :class:`WorkerError`."""


@dataclass(frozen=True)
class ModelFiller:
    """Asks the model itself: the gap as it is, at most ``max_tokens`` long, the best of ``candidates``."""

    client: WorkerClient
    max_tokens: int
    candidates: int
    seed: int

    async def fill(self, problem: Problem) -> Fill:
        """Fill one gap; see :class:`Filler`."""
        request = InfillRequest(
            segments=(Fixed(problem.prompt), Masked(self.max_tokens), Fixed(problem.suffix)),
            language_id="python",
            n=self.candidates,
            seed=self.seed,
        )
        result = await self.client.infill(request)
        if not result.choices:
            return Fill(result=result)
        best = result.choices[0]
        text = best.fills[0].text
        return Fill(text, problem.document(text), best.confidence, result)


@dataclass(frozen=True)
class EditorFiller:
    """Asks as an editor does: the gap that the syntax says, and the filters; but no floor, which is the gate's."""

    client: WorkerClient
    candidates: int
    seed: int

    async def fill(self, problem: Problem) -> Fill:
        """Fill one gap; see :class:`Filler`."""
        options = Options(confidence_floor=0.0, deadline_ms=DEADLINE_MS, candidates=self.candidates)
        text, offset = problem.document(""), len(problem.prompt)
        snapshot = DocumentSnapshot("file:///problem.py", 0, "python", text)
        found = await suggest(snapshot, offset, client=self.client, options=options, invoked=True, seed=self.seed)
        if not found.items:
            return Fill(result=found.result, reason=found.silence)
        best = found.items[0]
        document = text[: best.start_offset] + best.text + text[best.end_offset :]
        return Fill(best.text, document, best.confidence, found.result)


async def fill_all(
    problems: Sequence[Problem], filler: Filler, *, limit_s: float, done: Callable[[Outcome], None]
) -> list[Outcome]:
    """Fill and judge each problem, and tell ``done``; ``limit_s`` seconds are each program's.

    A gap that the worker refuses has failed. Raises :class:`WorkerUnavailable`.
    """
    outcomes = []
    for problem in problems:
        began = time.perf_counter()
        try:
            fill = await filler.fill(problem)
        except WorkerError as error:
            fill = Fill(reason=f"refused: {error}")
        ms = (time.perf_counter() - began) * 1000
        outcomes.append(await asyncio.to_thread(_judged, problem, fill, ms, limit_s))
        done(outcomes[-1])
    return outcomes


def _judged(problem: Problem, fill: Fill, ms: float, limit_s: float) -> Outcome:
    if fill.document is None:
        verdict, exact = Verdict(False, fill.reason), False
    else:
        verdict, exact = run_program(problem.program(fill.document), limit_s=limit_s), problem.is_exact(fill.document)
    return Outcome(
        task_id=problem.task_id,
        fill=fill.text,
        spoke=fill.document is not None,
        passed=verdict.passed,
        exact=exact,
        reason=verdict.reason,
        confidence=fill.confidence,
        floor=fill.result.confidence_floor if fill.result else 0.0,
        steps=fill.result.usage.denoising_steps if fill.result else 0,
        ms=ms,
    )
