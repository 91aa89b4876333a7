"""HTTP to one running worker. The only module that knows httpx, which it imports when it first connects."""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from inference.protocol import (
    Draft,
    EditRequest,
    Endpoint,
    ErrorBody,
    ErrorCode,
    Health,
    InfillRequest,
    InfillResult,
    ProtocolError,
    decode,
    encode,
)
from lsp_server.worker_client import WorkerError

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 16 * 1024 * 1024
_T = TypeVar("_T")


class ConnectionLost(Exception):  # noqa: N818 - a state of the world
    """There is no worker at this endpoint, or no longer."""


class NoAnswer(Exception):  # noqa: N818 - a state of the world
    """The worker did not answer within the limit."""


async def connect(endpoint: Endpoint) -> WorkerConnection:
    """Return a connection, importing httpx off the event loop if nobody has yet."""
    await asyncio.to_thread(importlib.import_module, "httpx")
    return WorkerConnection(endpoint)


class WorkerConnection:
    """Speaks to the worker at ``endpoint``. Every method raises :class:`ConnectionLost` and :class:`NoAnswer`.

    Cancelling a task that waits in :meth:`fill` closes its connection, which cancels the request at the worker.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        import httpx

        path = endpoint.address.removeprefix("unix:") if endpoint.address.startswith("unix:") else None
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; spares the loading of certificates
        self._client = httpx.AsyncClient(
            base_url="http://localhost" if path else endpoint.address,
            transport=httpx.AsyncHTTPTransport(
                uds=path,
                verify=no_tls,
                trust_env=False,
                limits=httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=30.0),
            ),
            headers={"authorization": f"Bearer {endpoint.token}"},
            timeout=None,  # one limit around the whole exchange instead of one for each read
            trust_env=False,
        )

    async def health(self, limit_s: float) -> Health:
        """Ask how the worker is, waiting at most ``limit_s`` seconds."""
        async with self._exchange("GET", "/health", None, limit_s) as answer:
            if answer.status_code != 200:
                raise ConnectionLost(f"the worker's place is another program's (status {answer.status_code})")
            return _read(Health, await _body(answer))

    async def fill(
        self, request: InfillRequest | EditRequest, on_draft: Callable[[Draft], None] | None, limit_s: float
    ) -> InfillResult:
        """Fill gaps or edit, streaming if anybody looks at drafts. Raises :class:`WorkerError` for an error answer."""
        path = "/v1/edit" if isinstance(request, EditRequest) else "/v1/infill"
        body = json.dumps(encode(replace(request, stream=on_draft is not None))).encode()
        async with self._exchange("POST", path, body, limit_s) as answer:
            if answer.status_code != 200:
                raise _error(await _body(answer))
            if on_draft is None:
                return _read(InfillResult, await _body(answer))
            async for name, data in _events(answer):
                if name == "draft":
                    on_draft(_read(Draft, data))
                elif name == "error":
                    raise _error(data)
                elif name == "result":
                    return _read(InfillResult, data)
        raise ConnectionLost("the worker's answer broke off")

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, body: bytes | None, limit_s: float
    ) -> AsyncIterator[httpx.Response]:
        import httpx

        try:
            async with asyncio.timeout(limit_s), self._client.stream(method, path, content=body) as answer:
                yield answer
        except TimeoutError:
            raise NoAnswer(f"the worker did not answer within {limit_s:g} seconds") from None
        except (httpx.HTTPError, OSError) as error:
            raise ConnectionLost(f"the worker is gone ({type(error).__name__})") from None


async def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ConnectionLost(f"the worker's answer is larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, bytes]]:
    """Split a body of server-sent events, one ``data`` line each, as our worker writes them."""
    buffer = b""
    async for chunk in answer.aiter_bytes():
        *events, buffer = (buffer + chunk).split(b"\n\n")
        if len(buffer) > MAX_ANSWER_BYTES:
            raise ConnectionLost(f"the worker's answer is larger than {MAX_ANSWER_BYTES} bytes")
        for event in events:
            lines = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
            yield lines.get(b"event", b"").decode(), lines.get(b"data", b"")


def _read(kind: type[_T], body: bytes) -> _T:
    try:
        content: Any = json.loads(body)
        return decode(kind, content, ignore_unknown=True)
    except (ProtocolError, ValueError, RecursionError):
        raise ConnectionLost("the worker's answer is not one of ours") from None


def _error(body: bytes) -> WorkerError:
    detail = _read(ErrorBody, body).error
    return WorkerError(ErrorCode(detail.code), detail.message)
