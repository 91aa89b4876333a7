"""The only converter between the editor's positions, str offsets and UTF-8 byte offsets.

Lines end with LF, CRLF or a lone CR, as the LSP has them: form feeds and U+2028 do not end one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from enum import StrEnum
from itertools import accumulate

_LINE_END = re.compile(r"\r\n|\n|\r")


class Encoding(StrEnum):
    """The unit of ``character`` in an LSP position, negotiated at ``initialize``."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


class LineIndex:
    """Where the lines of one text begin. Offsets count code points from the text's start, lines from 0.

    Every method clamps as the LSP asks: a character beyond its line means the line's end, a line beyond the text means
    the text's end. None of them raises.
    """

    def __init__(self, text: str, starts: list[int] | None = None) -> None:
        self._text = text
        self._starts = _line_starts(text) if starts is None else starts

    def spliced(self, start: int, end: int, new: str) -> LineIndex:
        """The index of the text in which ``new`` stands between two offsets: only the lines around them are read."""
        text = self._text[:start] + new + self._text[end:]
        first, last = max(0, self.line_of(start) - 1), self.line_of(end) + 2  # a CR or LF beside it may join or part
        grown = len(new) - (end - start)
        begin, stop = self.start(first), self.start(last)
        middle = [begin + relative for relative in _line_starts(text[begin : stop + grown])]
        rest = [line_start + grown for line_start in self._starts[last:]]
        if rest:
            middle.pop()  # the empty line behind the last line end is where the rest begins
        return LineIndex(text, self._starts[:first] + middle + rest)

    @property
    def text(self) -> str:
        """The text whose lines these are."""
        return self._text

    def __len__(self) -> int:
        return len(self._starts)

    def line_of(self, offset: int) -> int:
        """The line that holds ``offset``; an offset within a CRLF belongs to the line that it ends."""
        return bisect_right(self._starts, max(0, offset)) - 1

    def start(self, line: int) -> int:
        """Offset of the first character of ``line``."""
        return self._starts[line] if 0 <= line < len(self._starts) else (0 if line < 0 else len(self._text))

    def end(self, line: int) -> int:
        """Offset just before the line's end characters."""
        if line + 1 >= len(self._starts):
            return len(self._text)
        end = self.start(line + 1) - 1
        return end - 1 if self._text[end] == "\n" and end > self.start(line) and self._text[end - 1] == "\r" else end

    def content(self, line: int) -> str:
        """The line without its end characters; empty beyond the text."""
        return self._text[self.start(line) : self.end(line)]

    def position(self, offset: int, encoding: Encoding) -> tuple[int, int]:
        """``(line, character)`` of an offset, in units of ``encoding``."""
        offset = min(max(0, offset), len(self._text))
        line = self.line_of(offset)
        return line, _units(self._text[self.start(line) : min(offset, self.end(line))], encoding)

    def offset(self, line: int, character: int, encoding: Encoding) -> int:
        """Offset of a position; one inside a code point means that code point's start."""
        if line < 0:
            return 0
        if line >= len(self._starts):
            return len(self._text)
        return self.start(line) + _code_points(self.content(line), max(0, character), encoding)

    def byte_offset(self, offset: int) -> int:
        """UTF-8 bytes before ``offset``."""
        return offset if self._text.isascii() else len(utf8(self._text[:offset]))

    def offset_of_byte(self, byte_offset: int) -> int:
        """Offset of a UTF-8 byte; one inside a code point means that code point's start."""
        if self._text.isascii():
            return min(byte_offset, len(self._text))
        return _code_points(self._text, byte_offset, Encoding.UTF8)


def utf8(text: str) -> bytes:
    """UTF-8, lone surrogates included: JSON can carry them, so a document can hold them."""
    return text.encode("utf-8", "surrogatepass")


def _line_starts(text: str) -> list[int]:
    if "\r" in text:
        return [0, *(match.end() for match in _LINE_END.finditer(text))]
    lengths = [len(line) + 1 for line in text.split("\n")]
    return [0, *accumulate(lengths[:-1])]


def _units(text: str, encoding: Encoding) -> int:
    if encoding is Encoding.UTF32 or text.isascii():
        return len(text)
    if encoding is Encoding.UTF8:
        return len(utf8(text))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _code_points(text: str, units: int, encoding: Encoding) -> int:
    """How many code points of ``text`` fit into ``units``."""
    if encoding is Encoding.UTF32 or text.isascii():
        return min(units, len(text))
    if encoding is Encoding.UTF8:
        raw = utf8(text)
        while 0 < units < len(raw) and raw[units] & 0xC0 == 0x80:
            units -= 1
        return len(raw[:units].decode("utf-8", "surrogatepass"))
    raw = text.encode("utf-16-le", "surrogatepass")
    if _is_low(raw, units) and _is_high(raw, units - 1):
        units -= 1
    return len(raw[: 2 * units].decode("utf-16-le", "surrogatepass"))


def _is_high(raw: bytes, unit: int) -> bool:
    return 0 <= 2 * unit + 1 < len(raw) and 0xD8 <= raw[2 * unit + 1] < 0xDC


def _is_low(raw: bytes, unit: int) -> bool:
    return 0 <= 2 * unit + 1 < len(raw) and 0xDC <= raw[2 * unit + 1] < 0xE0
