"""Lines that open or close a block, by the languages' own words; and the indentation between such lines."""

from __future__ import annotations

import re
from functools import cache

from lsp_server.syntax.cursor import Cursor, indent_of, level_of
from lsp_server.syntax.language import Blocks, Language

_ANY_OPENER = re.compile(r"[:{(\[]\s*$")
_FIRST_WORD = re.compile(r"[A-Za-z]+\b|;;|</|\S")
_LEAVES = re.compile(r"\s*(?:return|raise|throw|break|continue|pass|exit|[)\]}])")
"""Beginnings of lines that often end a block."""

_ITEM = re.compile(r"\s*(- +)[^#]*:(?:\s|$)")
_FAR = 5_000
"""Characters of a line that are looked at: a longer one was not written by hand."""


def opens_block(line: str | None, language: Language | None) -> bool:
    """Whether a line ends where deeper lines begin; without a language its last character tells."""
    if not line or len(line) > _FAR:
        return False
    if language is None:
        return bool(_ANY_OPENER.search(line))
    return bool(language.opener) and not is_comment(line, language) and bool(_pattern(language.opener).search(line))


def closes_block(line: str | None, language: Language | None) -> bool:
    """Whether a line begins with what ends a block, or ends one to begin the next."""
    word = _FIRST_WORD.match(line.lstrip()) if line else None
    return word is not None and word[0] in (language.closing if language else ")]}")


def is_comment(line: str | None, language: Language | None) -> bool:
    """Whether a line is nothing but a comment."""
    mark = language.line_comment if language else ""
    return bool(line) and bool(mark) and (line or "").lstrip().startswith(mark)


def expected_indent(cursor: Cursor, language: Language | None, opens: bool) -> str:
    """The indentation that text on the cursor's blank line should have.

    What the user has typed decides; on an empty line the neighbours do.
    """
    unit, above = cursor.snapshot.indent_unit, level_of(cursor.above)
    if opens:
        return cursor.before if cursor.before != above and cursor.before.startswith(above) else above + unit
    if cursor.before:
        return cursor.before
    below = indent_of(cursor.below)
    if language is not None and language.blocks is Blocks.INDENT and cursor.touches_above:
        return above + " " * _item_width(cursor.above)
    if cursor.touches_above and not cursor.touches_below and not _LEAVES.match(cursor.above or ""):
        return above
    if closes_block(cursor.below, language):
        below += unit
    return min(above, below, key=len)


def _item_width(line: str | None) -> int:
    """How much deeper than its dash a mapping stands that begins as an item of a sequence."""
    item = _ITEM.match(line or "")
    return len(item[1]) if item else 0


@cache
def _pattern(source: str) -> re.Pattern[str]:
    return re.compile(source)
