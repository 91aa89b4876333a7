"""One request on its way back to its client: whole or streamed, and given up when the client leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inference.errors import EngineError
from inference.guard import error_answer, error_body, to_json
from inference.job import Job, Outcome, Request
from inference.protocol import Draft, InfillResult
from inference.reply import Reply
from inference.scheduler import Scheduler

ANSWER_LIMIT_S = 660.0
"""Seconds after which an answer is given up, one minute beyond the longest deadline that a request can ask for."""


class Answer(Response):
    """The answer to one request, streamed or whole. However the connection ends, the request ends with it.

    ``write`` gives a whole answer its form.
    """

    def __init__(
        self, request: Request, scheduler: Scheduler, write: Callable[[InfillResult], Response] | None = None
    ) -> None:
        super().__init__()
        self._write = write or _as_json
        self._reply = Reply()
        self._stream = request.stream
        self._scheduler = scheduler
        on_draft = self._reply.put_draft if request.stream else None
        self._job = Job(request, now=time.monotonic(), on_outcome=self._put_outcome, on_draft=on_draft)
        try:
            scheduler.submit(self._job)
        except EngineError as error:
            scheduler.metrics.ended(error)
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer while watching for the client to leave."""
        expiry = self._call_at_deadline(self._scheduler.expire)
        answering = asyncio.create_task(self._answer(scope, receive, send))
        leaving = asyncio.create_task(_until_disconnected(receive))
        try:
            await asyncio.wait({answering, leaving}, timeout=ANSWER_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._scheduler.cancel(self._job)
            if expiry is not None:
                expiry.cancel()
            answering.cancel()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
        if not answering.cancelled():
            answering.result()  # raises what nobody foresaw

    def _put_outcome(self, outcome: Outcome) -> None:
        self._reply.put_outcome(outcome)
        self._scheduler.metrics.ended(outcome)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._stream:
            await self._send_events(send)
            return
        try:
            answer = self._write(await self._reply.result())
        except EngineError as error:
            answer = error_answer(error)
        await answer(scope, receive, send)

    async def _send_events(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async for message in self._reply.messages():
                await send(_event("draft" if isinstance(message, Draft) else "result", message))
        except EngineError as error:
            await send(_event("error", error_body(error)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _call_at_deadline(self, callback: Callable[[], None]) -> asyncio.TimerHandle | None:
        if self._job.deadline is None:
            return None
        return asyncio.get_running_loop().call_later(self._job.deadline - time.monotonic() + 0.001, callback)


def _as_json(result: InfillResult) -> Response:
    return Response(to_json(result), media_type="application/json")


def _event(name: str, message: Any) -> dict[str, Any]:
    body = b"event: %b\ndata: %b\n\n" % (name.encode(), to_json(message))
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
