"""Who waits and who goes next: bookkeeping without threads, clocks or asyncio."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain, count

from inference.job import Job
from inference.protocol import Priority

REMEMBERED_CLIENTS = 256


class QueueFull(Exception):  # noqa: N818 - a state of the queue, told to the client
    """As many requests of this priority wait as may wait, in all or of this client; it says how many."""


class RequestQueue:
    """Waiting jobs: interactive before background, then clients take turns, then oldest first.

    At most ``capacity`` of each priority wait, and at most ``capacity_per_client`` of these for one client. Each
    priority has its own room: background work can never take an interactive request's place, nor one window another's.
    """

    def __init__(self, capacity: int, capacity_per_client: int | None = None) -> None:
        self._waiting: dict[Priority, deque[Job]] = {priority: deque() for priority in Priority}
        self._capacity = capacity
        self._capacity_per_client = capacity if capacity_per_client is None else capacity_per_client
        self._turns = count(1)
        self._last_turn: dict[str | None, int] = {}  # least recently served first

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def waiting(self, priority: Priority) -> int:
        """How many jobs of one priority wait."""
        return len(self._waiting[priority])

    def add(self, job: Job) -> Job | None:
        """Let a job wait, and return the older one for the same document, whose turn it takes over.

        Raises :class:`QueueFull`; nothing has changed then.
        """
        waiting = self._waiting[job.request.priority]
        older = self._of_document(job.request.document)
        if older is not None and older in waiting:
            waiting[waiting.index(older)] = job
            return older
        of_client = sum(other.request.client == job.request.client for other in waiting)
        if of_client >= self._capacity_per_client:
            raise QueueFull(f"{of_client} requests of this window are waiting already")
        if len(waiting) >= self._capacity:
            raise QueueFull(f"{len(waiting)} requests are waiting already")
        if older is not None:
            self.remove(older)
        waiting.append(job)
        return older

    def take(self, priority: Priority | None = None) -> Job | None:
        """Remove and return the job that goes next: the oldest of the client that was served least recently."""
        waiting = next((self._waiting[p] for p in Priority if self._waiting[p] and priority in (None, p)), None)
        if waiting is None:
            return None
        job = min(waiting, key=lambda job: self._last_turn.get(job.request.client, 0))
        waiting.remove(job)
        self._note_turn(job.request.client)
        return job

    def remove(self, job: Job) -> None:
        """Forget a job, if it waits."""
        self._take_if(lambda other: other is job)

    def take_expired(self, now: float) -> list[Job]:
        """Remove and return the jobs whose deadline has passed at ``now``, a ``time.monotonic()`` value."""
        return self._take_if(lambda job: job.is_late(now))

    def take_all(self) -> list[Job]:
        """Remove and return every job."""
        return self._take_if(lambda job: True)

    def _note_turn(self, client: str | None) -> None:
        self._last_turn.pop(client, None)
        self._last_turn[client] = next(self._turns)
        if len(self._last_turn) > REMEMBERED_CLIENTS:
            del self._last_turn[next(iter(self._last_turn))]

    def _of_document(self, document: str | None) -> Job | None:
        jobs = chain.from_iterable(self._waiting.values())
        return next((job for job in jobs if document is not None and job.request.document == document), None)

    def _take_if(self, wanted: Callable[[Job], bool]) -> list[Job]:
        taken = [job for waiting in self._waiting.values() for job in waiting if wanted(job)]
        for job in taken:
            self._waiting[job.request.priority].remove(job)
        return taken
