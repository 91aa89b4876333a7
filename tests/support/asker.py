"""Asks a scheduler as an application would, without asyncio, and keeps what comes back."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue

from inference.errors import EngineError
from inference.job import Job, Outcome, Request
from inference.protocol import Draft, ErrorCode, Fixed, InfillRequest, Masked, Priority, WorkerState
from inference.scheduler import Scheduler
from tests.support.fake_engine import FakeEngine
from tests.support.worker_room import wait_until

LIMIT_S = 30.0
BACKGROUND = Priority.BACKGROUND


class Asker:
    """Submits requests and keeps their outcomes."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.outcomes: Queue[tuple[str, Outcome]] = Queue()

    def ask(self, name: str, on_draft: Callable[[Draft], None] | None = None, **options: object) -> Job:
        request = InfillRequest(segments=(Fixed("buffer words"), Masked(8)), **options)  # type: ignore[arg-type]
        return self.ask_for(name, request, on_draft)

    def ask_for(self, name: str, request: Request, on_draft: Callable[[Draft], None] | None = None) -> Job:
        job = Job(request, now=time.monotonic(), on_outcome=lambda o: self.outcomes.put((name, o)), on_draft=on_draft)
        self.scheduler.submit(job)
        return job

    def next(self) -> tuple[str, Outcome]:
        return self.outcomes.get(timeout=LIMIT_S)

    def next_code(self) -> tuple[str, ErrorCode | None]:
        name, outcome = self.next()
        return name, outcome.code if isinstance(outcome, EngineError) else None

    def codes(self, number: int) -> dict[str, ErrorCode | None]:
        """The next outcomes, in whatever order they come."""
        return dict(self.next_code() for _ in range(number))


def asker(engine: FakeEngine, capacity: int = 8, unload_after_s: float = 0.0) -> Iterator[Asker]:
    """The body of a fixture: a scheduler that has loaded ``engine``, or could not; in the end nothing is under way."""
    scheduler = Scheduler(lambda: engine, model="m", engine="local", capacity=capacity, unload_after_s=unload_after_s)
    scheduler.start()
    wait_until(lambda: scheduler.health.state in (WorkerState.READY, WorkerState.ERROR))
    yield Asker(scheduler)
    assert scheduler.close(LIMIT_S)
    assert engine.under_way == []


serving = contextmanager(asker)
"""The same within a test: ``with serving(engine) as asked``."""
