"""Who may speak to the worker, and what an error looks like: wrapped around every route."""

from __future__ import annotations

import hmac
import json
import logging
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference.errors import Busy, EngineError
from inference.log_file import log_without_text
from inference.protocol import HTTP_STATUS, ErrorBody, ErrorCode, ErrorDetail, ProtocolError, encode

_LOCAL_NAMES = {"127.0.0.1", "::1", "localhost"}
_log = logging.getLogger(__name__)


class Guard:
    """Lets through only who knows the token, and turns every exception into an error answer.

    On TCP (``loopback_only``) the Host header must name this machine and an Origin header is refused: a web page in
    the user's browser can reach loopback too, by DNS rebinding even under its own name.
    """

    def __init__(self, app: ASGIApp, *, token: str, loopback_only: bool) -> None:
        self._app = app
        self._authorization = f"Bearer {token}".encode()
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            self._check(Headers(scope=scope))
            await self._app(scope, receive, watched_send)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = error_answer(error)
            if begun:
                raise ConnectionAbortedError("the answer broke off") from None
            await answer(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        if self._loopback_only and urlsplit(f"//{headers.get('host', '')}").hostname not in _LOCAL_NAMES:
            raise EngineError("the Host header must name this machine's loopback address", ErrorCode.UNAUTHORIZED)
        if self._loopback_only and "origin" in headers:
            raise EngineError("requests from web pages are refused", ErrorCode.UNAUTHORIZED)
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._authorization):
            message = "the bearer token is missing or wrong; it stands in the worker's endpoint file"
            raise EngineError(message, ErrorCode.UNAUTHORIZED)


async def http_exception(request: Request, error: Exception) -> Response:
    """Answer an unknown path or method in the same form as every other error."""
    assert isinstance(error, HTTPException)
    code = ErrorCode.NOT_FOUND if error.status_code == 404 else ErrorCode.BAD_REQUEST
    message = "there is nothing at this path" if error.status_code == 404 else f"{error.detail}: {request.method}"
    return _error(code, message, status=error.status_code, headers=dict(error.headers or {}))


def error_answer(error: Exception) -> Response:
    """Return the error answer for what a route raised; the unexpected is logged and told in general words."""
    body = error_body(error)
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Busy) else {}
    return _error(body.error.code, body.error.message, headers=headers)


def error_body(error: Exception) -> ErrorBody:
    """Say in a code and a sentence what went wrong."""
    if isinstance(error, EngineError):
        return ErrorBody(ErrorDetail(error.code, str(error)))
    if isinstance(error, ProtocolError):
        return ErrorBody(ErrorDetail(ErrorCode.BAD_REQUEST, str(error)))
    log_without_text(_log, "a request failed", error)
    return ErrorBody(ErrorDetail(ErrorCode.INTERNAL, "the worker failed; its log says where"))


def to_json(message: Any) -> bytes:
    """Return a message's JSON, in ASCII: lone surrogates survive and no client sees a line break in an SSE line."""
    return json.dumps(encode(message), separators=(",", ":")).encode("ascii")


def _error(code: ErrorCode, message: str, *, status: int | None = None, headers: dict[str, str]) -> Response:
    body = to_json(ErrorBody(ErrorDetail(code, message)))
    return Response(body, status or HTTP_STATUS[code], headers, media_type="application/json")
