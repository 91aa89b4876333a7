"""A gap: the span that a fill may take, where it must end, how long it may get. One table says it per kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class GapKind(StrEnum):
    """What is missing at the cursor."""

    LINE_TAIL = "line tail"
    INLINE = "inline"
    BRACKET = "bracket"
    BLOCK = "block"
    STATEMENT = "statement"
    STRING = "string"
    COMMENT = "comment"
    DOCSTRING = "docstring"
    IMPORT = "import"
    IDENTIFIER = "identifier"
    SELECTION = "selection"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list item"
    HEADING = "heading"


class EndRule(StrEnum):
    """Where a gap must end at the latest."""

    WORD = "word"
    """before whatever cannot be part of a name"""
    LINE = "line"
    CLOSER = "closer"
    """before the closer that stands to the right already"""
    DEDENT = "dedent"
    """before a line indented less than the gap"""
    STATEMENT = "statement"
    """before a dedent or a blank line"""
    PARAGRAPH = "paragraph"
    """before a blank line"""


@dataclass(frozen=True)
class Limits:
    """Tokens that a kind may take on one line and over lines (0: it has only one), and whether it is prose."""

    one_line: int
    lines: int = 0
    is_text: bool = False


# One below a power of two: with the token that ends the gap it fills a canvas, and a larger canvas costs its size.
LIMITS = {
    GapKind.LINE_TAIL: Limits(31),
    GapKind.INLINE: Limits(31),
    GapKind.BRACKET: Limits(31, 63),
    GapKind.BLOCK: Limits(31, 127),
    GapKind.STATEMENT: Limits(31, 63),
    GapKind.STRING: Limits(31, 63, is_text=True),
    GapKind.COMMENT: Limits(31, 63, is_text=True),
    GapKind.DOCSTRING: Limits(31, 127, is_text=True),
    GapKind.IMPORT: Limits(31, 63),
    GapKind.IDENTIFIER: Limits(15),
    GapKind.SELECTION: Limits(63, 255),
    GapKind.PARAGRAPH: Limits(63, 63, is_text=True),
    GapKind.LIST_ITEM: Limits(31, is_text=True),
    GapKind.HEADING: Limits(15, is_text=True),
}

TEXT_KINDS = frozenset(kind for kind, limits in LIMITS.items() if limits.is_text)
"""Kinds in which brackets and quotes mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The span ``start`` to ``end`` (str offsets) is to be rewritten; equal for a plain completion.

    ``indent`` is the white space that its lines begin with, ``closer`` what ends it (for :attr:`EndRule.CLOSER`),
    ``unclosed`` the closers that it may bring, innermost first, because nothing else does.
    """

    kind: GapKind
    start: int
    end: int
    end_rule: EndRule
    may_span_lines: bool
    max_tokens: int
    indent: str
    closer: str = ""
    unclosed: str = ""
