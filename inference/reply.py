"""The bridge from the model thread to the event loop, one for each request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from inference.job import Outcome
from inference.protocol import Draft, InfillResult


class Reply:
    """Carries one job's drafts and outcome to the loop it was made on; of the drafts not yet read, only the latest.

    ``put_draft`` and ``put_outcome`` may be called from any thread; what they post is bounded by one request's steps.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._draft: Draft | None = None
        self._outcome: Outcome | None = None

    def put_draft(self, draft: Draft) -> None:
        """Replace the draft that waits to be read."""
        self._post(lambda: setattr(self, "_draft", draft))

    def put_outcome(self, outcome: Outcome) -> None:
        """Say how the request ended."""
        self._post(lambda: setattr(self, "_outcome", outcome))

    async def result(self) -> InfillResult:
        """Wait for the outcome; raises it if it is an :class:`EngineError`."""
        async for message in self.messages():
            if isinstance(message, InfillResult):
                return message
        raise AssertionError("unreachable: messages() ends with the result or raises")

    async def messages(self) -> AsyncIterator[Draft | InfillResult]:
        """Yield drafts, then the result; raises the outcome if it is an :class:`EngineError`."""
        while self._outcome is None:
            await self._news.wait()
            self._news.clear()
            draft, self._draft = self._draft, None
            if draft is not None and self._outcome is None:
                yield draft
        if not isinstance(self._outcome, InfillResult):
            raise self._outcome
        yield self._outcome

    def _post(self, change: Callable[[], None]) -> None:
        def apply() -> None:
            change()
            self._news.set()

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(apply)
