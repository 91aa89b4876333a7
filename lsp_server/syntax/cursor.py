"""The line under the cursor and its neighbours: what can be told without a grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from lsp_server.snapshot import DocumentSnapshot

CLOSERS = ")]}"
_TAIL = frozenset(CLOSERS + ";:,\"'`>")
_FAR = 200
"""Blank lines crossed at most in search of a neighbour."""


@dataclass(frozen=True)
class Cursor:
    """A cursor in a document; ``before`` and ``after`` are its line's text to the left and to the right."""

    snapshot: DocumentSnapshot
    offset: int

    @cached_property
    def line(self) -> int:
        """The line's number, from 0."""
        return self.snapshot.lines.line_of(self.offset)

    @cached_property
    def before(self) -> str:
        """Text between the line's start and the cursor."""
        return self.snapshot.text[self.snapshot.lines.start(self.line) : self.offset]

    @cached_property
    def after(self) -> str:
        """Text between the cursor and the line's end."""
        return self.snapshot.text[self.offset : self.snapshot.lines.end(self.line)]

    @cached_property
    def above(self) -> str | None:
        """The nearest line above that is not blank."""
        return next((text for n in range(self.line - 1, self.line - _FAR, -1) if (text := self._content(n))), None)

    @cached_property
    def below(self) -> str | None:
        """The nearest line below that is not blank."""
        return next((text for n in range(self.line + 1, self.line + _FAR) if (text := self._content(n))), None)

    @property
    def is_on_blank_line(self) -> bool:
        """Whether the line holds nothing but white space."""
        return not self.before.strip() and not self.after.strip()

    @property
    def is_at_line_tail(self) -> bool:
        """Whether nothing but closers and punctuation stands to the right."""
        return all(char in _TAIL for char in self.after.strip())

    @property
    def is_in_word(self) -> bool:
        """Whether a word is still being typed here, or begins here: a guess would only be in the way."""
        left, right = self.before[-1:], self.after[:1]
        if _is_word(right):
            return True
        return _is_word(left) and bool(self.after.strip()) and right not in _TAIL

    def _content(self, line: int) -> str:
        text = self.snapshot.lines.content(line) if 0 <= line < len(self.snapshot.lines) else ""
        return text if text.strip() else ""


def indent_of(line: str | None) -> str:
    """The white space that a line begins with."""
    return line[: len(line) - len(line.lstrip())] if line else ""


def expected_indent(cursor: Cursor, opens_block: bool) -> str:
    """The indentation that text on the cursor's blank line should have.

    What the user has typed decides; on an empty line the neighbours do.
    """
    unit, above = cursor.snapshot.indent_unit, indent_of(cursor.above)
    if opens_block:
        return cursor.before if cursor.before != above and cursor.before.startswith(above) else above + unit
    if cursor.before:
        return cursor.before
    below = indent_of(cursor.below)
    if cursor.below is not None and cursor.below.strip()[0] in CLOSERS:
        below += unit
    return min(above, below, key=len)


def ends_like_an_opener(line: str | None) -> bool:
    """Whether a line's last character promises deeper lines, whatever the language."""
    return bool(line) and bool(re.search(r"[:{(\[]\s*$", line or ""))


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
