"""One request on its way through the scheduler."""

from __future__ import annotations

import threading
from collections.abc import Callable

from inference.errors import EngineError
from inference.protocol import Draft, EditRequest, InfillRequest, InfillResult

Request = InfillRequest | EditRequest
"""What an engine can be asked."""

Outcome = InfillResult | EngineError
"""How a request ends: its result, or why there is none (its ``code`` is the answer's status)."""


class Job:
    """A request, its clock, and its one outcome.

    ``settle`` may be called by anybody on any thread: the first call wins and runs ``on_outcome``, later ones do
    nothing. A settled job is one that nobody waits for, so its filling is abandoned before the next step: superseding,
    cancelling and leaving are all the same act. ``now`` is ``time.monotonic()`` at the request's arrival.
    """

    def __init__(
        self,
        request: Request,
        *,
        now: float,
        on_outcome: Callable[[Outcome], None],
        on_draft: Callable[[Draft], None] | None = None,
    ) -> None:
        self.request = request
        self.arrived = now
        self.deadline = None if request.deadline_ms is None else now + request.deadline_ms / 1000
        self._on_outcome = on_outcome
        self._on_draft = on_draft
        self._lock = threading.Lock()
        self._settled = False

    @property
    def wants_drafts(self) -> bool:
        """Whether anybody looks at the drafts."""
        return self._on_draft is not None

    def is_late(self, now: float) -> bool:
        """Whether the deadline has passed at ``now``, a ``time.monotonic()`` value."""
        return self.deadline is not None and self.deadline <= now

    def settled(self) -> bool:
        """Whether the request has its outcome already."""
        return self._settled

    def settle(self, outcome: Outcome) -> bool:
        """Give the request its outcome; False if it had one."""
        with self._lock:
            first, self._settled = not self._settled, True
        if first:
            self._on_outcome(outcome)
        return first

    def draft(self, draft: Draft) -> None:
        """Pass a draft on, unless the request is settled."""
        if self._on_draft is not None and not self._settled:
            self._on_draft(draft)
