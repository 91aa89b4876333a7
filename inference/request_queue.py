"""Who waits and who goes next: bookkeeping without threads, clocks or asyncio."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain

from inference.job import Job
from inference.protocol import Priority


class QueueFull(Exception):  # noqa: N818 - a state of the queue, told to the client
    """As many requests of this priority wait as may wait."""


class RequestQueue:
    """Waiting jobs: interactive before background, then oldest first; at most ``capacity`` of each priority.

    Each priority has its own room, so that background work can never take an interactive request's place.
    """

    def __init__(self, capacity: int) -> None:
        self._waiting: dict[Priority, deque[Job]] = {priority: deque() for priority in Priority}
        self._capacity = capacity

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, job: Job) -> Job | None:
        """Let a job wait, and return the older one for the same document, whose turn it takes over.

        Raises :class:`QueueFull`; nothing has changed then.
        """
        waiting = self._waiting[job.request.priority]
        older = self._of_document(job.request.document)
        if older is not None and older in waiting:
            waiting[waiting.index(older)] = job
            return older
        if len(waiting) >= self._capacity:
            raise QueueFull
        if older is not None:
            self.remove(older)
        waiting.append(job)
        return older

    def take(self) -> Job | None:
        """Remove and return the job that goes next."""
        return next((waiting.popleft() for waiting in self._waiting.values() if waiting), None)

    def remove(self, job: Job) -> None:
        """Forget a job, if it waits."""
        self._take_if(lambda other: other is job)

    def take_expired(self, now: float) -> list[Job]:
        """Remove and return the jobs whose deadline has passed at ``now``, a ``time.monotonic()`` value."""
        return self._take_if(lambda job: job.deadline is not None and job.deadline <= now)

    def take_all(self) -> list[Job]:
        """Remove and return every job."""
        return self._take_if(lambda job: True)

    def _of_document(self, document: str | None) -> Job | None:
        jobs = chain.from_iterable(self._waiting.values())
        return next((job for job in jobs if document is not None and job.request.document == document), None)

    def _take_if(self, wanted: Callable[[Job], bool]) -> list[Job]:
        taken = [job for waiting in self._waiting.values() for job in waiting if wanted(job)]
        for job in taken:
            self._waiting[job.request.priority].remove(job)
        return taken
