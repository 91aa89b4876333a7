"""The LSP's base protocol: headers and bodies out of a stream of bytes, however it is cut. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_HEADER_BYTES = 4096
MAX_BODY_BYTES = 256 * 1024 * 1024

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*(?:\r?\n|$)", re.IGNORECASE)


class FramingError(Exception):
    """What came is no message; the next one is looked for behind it."""


class Framing:
    """Feed it what arrives, take out the bodies. Holds one unfinished message at most, bounded as above."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None

    def feed(self, data: bytes) -> Iterator[bytes | FramingError]:
        """The bodies that ``data`` completes, and an error for each header that makes no sense."""
        self._buffer += data
        while True:
            if self._length is None:
                end = self._buffer.find(_END)
                if end < 0:
                    if len(self._buffer) > MAX_HEADER_BYTES:
                        self._buffer = self._buffer[-len(_END) :]
                        yield FramingError("a header without an end")
                    return
                header = bytes(self._buffer[:end])
                del self._buffer[: end + len(_END)]
                length = _content_length(header)
                if length is None:
                    yield FramingError("a header without Content-Length")
                    continue
                self._length = length
            if len(self._buffer) < self._length:
                return
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
            self._length = None
            yield body


def _content_length(header: bytes) -> int | None:
    """The last ``Content-Length`` of a header, even right behind rubbish: that is how a reader finds back."""
    found = _LENGTH.findall(header)
    return int(found[-1]) if found and int(found[-1]) <= MAX_BODY_BYTES else None
