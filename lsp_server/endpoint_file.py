"""Reading the file in which a worker says where it listens: only ours, only well-formed."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

from inference.protocol import Endpoint, ProtocolError, decode

MAX_ENDPOINT_BYTES = 64 * 1024


class BadEndpoint(Exception):  # noqa: N818 - a finding about a file
    """The file is not an endpoint that may be trusted; the text says what is wrong with it."""


def read_endpoint(path: Path) -> Endpoint | None:
    """Return what the file says, None if there is none. Raises :class:`BadEndpoint`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            _check_owner(os.fstat(descriptor))
            content = file.read(MAX_ENDPOINT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadEndpoint(f"{path} cannot be read: {error.strerror}") from None
    try:
        endpoint = decode(Endpoint, json.loads(content), ignore_unknown=True)
        _check_address(endpoint.address)
    except (ProtocolError, ValueError, RecursionError) as error:
        raise BadEndpoint(f"{path} is not a worker's endpoint: {error}") from None
    return endpoint


def remove_endpoint(path: Path, endpoint: Endpoint | None) -> None:
    """Take away the file, and the socket it names, of a worker that is gone."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    if endpoint is not None and endpoint.address.startswith("unix:"):
        socket = Path(endpoint.address.removeprefix("unix:"))
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(socket.lstat().st_mode):
                socket.unlink()


def _check_owner(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadEndpoint("the endpoint is not a regular file")
    if sys.platform != "win32" and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
        raise BadEndpoint("the endpoint file is another user's, or open to others")


def _check_address(address: str) -> None:
    if address.startswith("unix:/"):
        return
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.port is None or not ipaddress.ip_address(parts.hostname or "").is_loopback:
        raise ValueError(f"{address!r} is neither a Unix socket nor loopback")
