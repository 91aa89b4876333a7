"""Where a suggestion stands, told by the text around it: line numbers and versions change with every key elsewhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lsp_server.positions import utf8

LINES_ABOVE = 3
"""So many lines above the gap that are not blank must be as they were; what lies further up may change."""

MAX_TAIL = 400
MAX_HEAD = 4000
MAX_INSERTED = 64
_MAX_PLACES = 8
_CLOSERS = re.compile(r"[\s)\]}\"'`>]*")


@dataclass(frozen=True)
class Anchor:
    """``tail`` stands before the gap, text with the digest ``head`` behind it.

    ``at_start``: there is so little above the gap that it must still begin the document.
    """

    tail: str
    head: bytes
    at_start: bool

    @classmethod
    def at(cls, text: str, offset: int, reach: int) -> Anchor:
        """The anchor of a gap at ``offset`` that depends on ``reach`` characters behind it."""
        tail, lines = _tail(text, offset)
        return cls(tail, digest(text, offset, reach), at_start=lines == 0 and len(tail) == offset)

    def typed(self, text: str, offset: int, longest: int) -> Iterator[str]:
        """What may have been typed between the gap's start and ``offset``, at most ``longest`` characters.

        More than one where the same lines stand one after the other; the shortest first.
        """
        size = len(self.tail)
        if self.at_start:
            if text.startswith(self.tail) and size <= offset <= size + longest:
                yield text[size:offset]
            return
        first = max(0, offset - longest - size)
        window = text[first:offset]
        end = len(window)
        for _ in range(_MAX_PLACES):
            place = window.rfind(self.tail, 0, end)
            if place < 0:
                return
            yield window[place + size :]
            end = place + size - 1


def digest(text: str, offset: int, reach: int) -> bytes:
    """A name for what stands behind ``offset``."""
    return hashlib.blake2b(utf8(text[offset : offset + min(reach, MAX_HEAD)]), digest_size=12).digest()


def heads(text: str, offset: int, reach: int) -> Iterator[tuple[bytes, str]]:
    """The digests of what stands behind ``offset``, each with the closers left out before it.

    Editors insert these behind the cursor when an opening bracket, a quote or Enter is typed.
    """
    yield digest(text, offset, reach), ""
    run = _CLOSERS.match(text, offset, offset + MAX_INSERTED)
    inserted = run[0] if run else ""
    for length, char in enumerate(inserted, 1):
        if not char.isspace():
            yield digest(text, offset + length, reach), inserted[:length]


def _tail(text: str, offset: int) -> tuple[str, int]:
    """The gap's line left of it and some lines above; how many of these are not blank."""
    lines = text[max(0, offset - MAX_TAIL) : offset].split("\n")
    first, found = len(lines) - 1, 0
    while first > 0 and found < LINES_ABOVE:
        first -= 1
        found += bool(lines[first].strip())
    return "\n".join(lines[first:]), found
