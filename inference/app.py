"""The worker's HTTP face: routes over a scheduler. Knows no tensors, no processes and no endpoint files.

``POST /v1/infill`` answers with one JSON object, or with server-sent events: ``draft``*, then ``result`` or ``error``.
Closing the connection cancels, in either form. Every answer but 200 holds an :class:`ErrorBody`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from inference.engines.base import EngineError
from inference.guard import Guard, error_answer, error_body, http_exception, to_json
from inference.job import Job
from inference.protocol import MAX_BODY_BYTES, Draft, ErrorCode, InfillRequest, ProtocolError, infill_request
from inference.reply import Reply
from inference.scheduler import Scheduler

BODY_LIMIT_S = 30.0
"""Seconds within which a request's body must have arrived."""

ANSWER_LIMIT_S = 660.0
"""Seconds after which an answer is given up, one minute beyond the longest deadline that a request can ask for."""


def create_app(scheduler: Scheduler, *, token: str, loopback_only: bool) -> Starlette:
    """Return the ASGI application; ``loopback_only`` adds the checks that TCP needs (see :class:`Guard`)."""
    routes = _Routes(scheduler)
    app = Starlette(
        routes=[
            Route("/health", routes.health),
            Route("/v1/models", routes.models),
            Route("/v1/infill", routes.infill, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, token=token, loopback_only=loopback_only)],
        exception_handlers={HTTPException: http_exception},
    )
    app.router.redirect_slashes = False
    return app


class _Routes:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def health(self, request: Request) -> Response:
        return Response(to_json(self._scheduler.health), media_type="application/json")

    async def models(self, request: Request) -> Response:
        model = {"id": self._scheduler.health.model, "object": "model", "owned_by": "lacuna"}
        return Response(to_json({"object": "list", "data": [model]}), media_type="application/json")

    async def infill(self, request: Request) -> Response:
        return InfillAnswer(infill_request(await read_json(request)), self._scheduler)


async def read_json(request: Request) -> Any:
    """Read a JSON body. Raises :class:`ProtocolError`, or :class:`EngineError` with ``too_large``."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise EngineError(f"the body is larger than {MAX_BODY_BYTES} bytes", ErrorCode.TOO_LARGE)
    except TimeoutError:
        raise ProtocolError(f"the body did not arrive within {BODY_LIMIT_S:g} seconds") from None
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ProtocolError(f"the body is not valid UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the body is not valid JSON: {error}") from None


class InfillAnswer(Response):
    """The answer to one request, streamed or whole. However the connection ends, the request ends with it."""

    def __init__(self, request: InfillRequest, scheduler: Scheduler) -> None:
        super().__init__()
        self._reply = Reply()
        self._stream = request.stream
        self._scheduler = scheduler
        on_draft = self._reply.put_draft if request.stream else None
        self._job = Job(request, now=time.monotonic(), on_outcome=self._reply.put_outcome, on_draft=on_draft)
        scheduler.submit(self._job)

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

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._stream:
            await self._send_events(send)
            return
        try:
            answer = Response(to_json(await self._reply.result()), media_type="application/json")
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


def _event(name: str, message: Any) -> dict[str, Any]:
    body = b"event: %b\ndata: %b\n\n" % (name.encode(), to_json(message))
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
