"""The body of a request: read within a limit of time and of size."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request

from inference.errors import EngineError
from inference.protocol import MAX_BODY_BYTES, ErrorCode, ProtocolError

BODY_LIMIT_S = 30.0
"""Seconds within which a request's body must have arrived."""


async def read_json(request: Request) -> Any:
    """Read a JSON body. Raises :class:`ProtocolError`, or :class:`EngineError` with ``too_large``.

    A body that says itself that it is too large is not read at all.
    """
    body = bytearray()
    too_large = EngineError(f"the body is larger than {MAX_BODY_BYTES} bytes", ErrorCode.TOO_LARGE)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise too_large
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise ProtocolError(f"the body did not arrive within {BODY_LIMIT_S:g} seconds") from None
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ProtocolError(f"the body is not valid UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the body is not valid JSON: {error}") from None
