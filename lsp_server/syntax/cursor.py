"""The line under the cursor and its neighbours: what can be told without a grammar."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lsp_server.snapshot import DocumentSnapshot

CLOSERS = ")]}"
_TAIL = frozenset(CLOSERS + ";:,\"'`>")
_FAR = 200
"""Blank lines crossed at most in search of a neighbour."""


@dataclass(frozen=True)
class Cursor:
    """A cursor in a document; ``before`` and ``after`` are its line's text to the left and to the right.

    Lines that begin with ``flush_left`` say nothing about their neighbours: preprocessors put them at the left edge.
    """

    snapshot: DocumentSnapshot
    offset: int
    flush_left: str = ""

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

    @property
    def touches_above(self) -> bool:
        """Whether the line right above is not blank."""
        return bool(self._content(self.line - 1))

    @property
    def touches_below(self) -> bool:
        """Whether the line right below is not blank."""
        return bool(self._content(self.line + 1))

    @property
    def is_within_word(self) -> bool:
        """Whether the word to the left goes on to the right."""
        return _is_word(self.before[-1:]) and _is_word(self.after[:1])

    def code_above(self, comment: str) -> str | None:
        """The nearest line above that is neither blank nor a line comment, which ``comment`` begins."""
        near = (self._content(n) for n in range(self.line - 1, self.line - _FAR, -1))
        return next((line for line in near if line and not (comment and line.lstrip().startswith(comment))), None)

    def _content(self, line: int) -> str:
        text = self.snapshot.lines.content(line) if 0 <= line < len(self.snapshot.lines) else ""
        skipped = not text.strip() or (self.flush_left and text.startswith(self.flush_left))
        return "" if skipped else text


def level_of(line: str | None) -> str:
    """The indentation that a line's statement has: lines of a block comment stand one space deeper."""
    indent = indent_of(line)
    return indent[:-1] if indent.endswith(" ") and (line or "").lstrip().startswith("*") else indent


def indent_of(line: str | None) -> str:
    """The white space that a line begins with."""
    return line[: len(line) - len(line.lstrip())] if line else ""


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
