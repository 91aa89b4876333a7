"""The requests under way in an engine, side by side: begun, advanced together, ended one by one.

Only the model thread changes a batch; :attr:`Batch.jobs` may be read by anybody.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from inference.engines.base import Engine, Filling
from inference.errors import Cancelled, EngineError, ModelBroken
from inference.job import Job, Outcome
from inference.log_file import log_without_text
from inference.metrics import Metrics
from inference.protocol import ErrorCode, InfillResult, Priority

_PACE_MEMORY = 0.2
"""The weight of the latest request in the average duration."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Place:
    job: Job
    filling: Filling | None = None
    begun: float = 0.0
    stepped_s: float = 0.0


class Batch:
    """Jobs and their fillings. While an interactive one is under way, background ones stay begun and wait.

    Whatever an engine raises becomes the outcome of the jobs that it concerns; :class:`ModelBroken` is raised on, once
    these have it.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._places: tuple[_Place, ...] = ()  # replaced, never changed: other threads read it
        self._request_s = 0.0

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs under way."""
        return tuple(place.job for place in self._places)

    @property
    def request_s(self) -> float:
        """Seconds of steps that a request took lately, shared or alone; a moving average, 0 before the first."""
        return self._request_s

    def count(self, priority: Priority) -> int:
        """How many jobs of one priority are under way and still waited for."""
        return sum(job.request.priority is priority and not job.settled() for job in self.jobs)

    def add(self, job: Job) -> None:
        """Let a job take part from the next :meth:`advance` on."""
        self._places = (*self._places, _Place(job))

    def advance(self, engine: Engine) -> None:
        """Bring the jobs under way one step further; those that nobody waits for any more leave before it."""
        self._abandon(engine, lambda job: job.settled())
        self._begin(engine)
        self._step(engine)
        self._settle()

    def clear(self, engine: Engine) -> None:
        """Abandon every filling. The jobs must have their outcomes."""
        self._abandon(engine, lambda job: True)

    def _begin(self, engine: Engine) -> None:
        for place in self._places:
            if place.filling is None:
                job, place.begun = place.job, time.monotonic()
                on_draft = job.draft if job.wants_drafts else None
                try:
                    place.filling = engine.begin(job.request, deadline=job.deadline, on_draft=on_draft)
                except BaseException as error:  # the thread outlives every request
                    self._end(place, outcome_of(error))
                    if isinstance(error, ModelBroken):
                        raise

    def _step(self, engine: Engine) -> None:
        places = self._whose_turn(engine.room)
        if not places:
            return
        self._metrics.stepped(len(places))
        started = time.monotonic()
        try:
            engine.advance([place.filling for place in places if place.filling is not None])
            for place in places:
                place.stepped_s += time.monotonic() - started
        except BaseException as error:  # the thread outlives every request
            self._settle()
            outcome = outcome_of(error)
            for place in places:
                place.job.settle(outcome)
            self._abandon(engine, lambda job: job.settled())
            if isinstance(error, ModelBroken):
                raise

    def _whose_turn(self, room: int) -> list[_Place]:
        """Interactive work, and background work whose deadline calls for its best fill so far; else all."""
        begun = [place for place in self._places if place.filling is not None and place.filling.outcome is None]
        interactive = [place for place in begun if place.job.request.priority is Priority.INTERACTIVE]
        late = [place for place in begun if place not in interactive and place.job.is_late(time.monotonic())]
        return ([*interactive, *late] if interactive else begun)[:room]

    def _settle(self) -> None:
        broken: ModelBroken | None = None
        for place in self._places:
            if place.filling is not None and (outcome := place.filling.outcome) is not None:
                self._end(place, _timed(outcome, place))
                broken = outcome if isinstance(outcome, ModelBroken) else broken
        if broken is not None:
            raise broken

    def _abandon(self, engine: Engine, given_up: Callable[[Job], bool]) -> None:
        for place in self._places:
            if given_up(place.job):
                self._remove(place)
                if place.filling is not None and place.filling.outcome is None:
                    try:
                        engine.abandon(place.filling)
                    except BaseException as error:  # the thread outlives every request
                        log_without_text(_log, "abandoning a filling failed", error)

    def _end(self, place: _Place, outcome: Outcome) -> None:
        self._remove(place)
        if isinstance(outcome, InfillResult):
            self._request_s += (place.stepped_s - self._request_s) * (_PACE_MEMORY if self._request_s else 1.0)
        place.job.settle(outcome)

    def _remove(self, place: _Place) -> None:
        self._places = tuple(other for other in self._places if other is not place)


def outcome_of(error: BaseException) -> EngineError:
    """Return what a request is told when the engine raised ``error``; what nobody foresaw is logged without text."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, Cancelled):
        return EngineError("the request was given up", ErrorCode.CANCELLED)
    if is_out_of_memory(error):
        message = "there is not enough memory for this request; ask for fewer tokens or candidates"
        return EngineError(message, ErrorCode.OUT_OF_MEMORY)
    log_without_text(_log, "the engine failed", error)
    return EngineError("the engine failed; the worker's log says where")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or (torch's error, which is not known here) on the device."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _timed(outcome: Outcome, place: _Place) -> Outcome:
    if not isinstance(outcome, InfillResult):
        return outcome
    arrived = place.job.arrived
    queue_ms, total_ms = 1000 * (place.begun - arrived), 1000 * (time.monotonic() - arrived)
    return replace(outcome, timings_ms=replace(outcome.timings_ms, queue=queue_ms, total=total_ms))
