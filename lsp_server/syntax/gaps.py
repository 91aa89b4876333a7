"""What kind of gap the cursor is in: where it may end, how long it may get, how its lines are indented."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.cursor import Cursor, ends_like_an_opener, expected_indent, indent_of
from lsp_server.syntax.enclosure import Enclosure, Text, enclosure, is_unwritten_body
from lsp_server.syntax.languages import MARKDOWN, PYTHON, Language
from lsp_server.syntax.markdown import Fence, Prose, fence_at, prose_at
from lsp_server.syntax.trees import SyntaxTree, parse


class GapKind(StrEnum):
    """What is missing at the cursor."""

    LINE_TAIL = "line tail"
    INLINE = "inline"
    BRACKET = "bracket"
    BLOCK = "block"
    STATEMENT = "statement"
    STRING = "string"
    COMMENT = "comment"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list item"
    HEADING = "heading"


class EndRule(StrEnum):
    """Where a gap must end at the latest."""

    LINE = "line"
    CLOSER = "closer"
    """before the closer that stands to the right already"""
    DEDENT = "dedent"
    """before a line indented less than the gap"""
    STATEMENT = "statement"
    """before a dedent or a blank line"""
    PARAGRAPH = "paragraph"
    """before a blank line"""


# One below a power of two: with the token that ends the gap it fills a canvas, and a larger canvas costs its size.
_MAX_TOKENS = {
    GapKind.LINE_TAIL: 31,
    GapKind.INLINE: 31,
    GapKind.BRACKET: 31,
    GapKind.BLOCK: 127,
    GapKind.STATEMENT: 63,
    GapKind.STRING: 31,
    GapKind.COMMENT: 31,
    GapKind.PARAGRAPH: 63,
    GapKind.LIST_ITEM: 31,
    GapKind.HEADING: 15,
}
_MORE_LINES = 2
"""A bracket, string or comment that may span lines gets this many times the tokens."""


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


def find_gap(snapshot: DocumentSnapshot, offset: int, tree: SyntaxTree | None, *, invoked: bool = False) -> Gap | None:
    """The gap at ``offset``; None where a guess would only be in the way.

    Without a tree plain rules apply. ``invoked`` says that the user asked: then even a word half typed is a gap.
    """
    cursor = Cursor(snapshot, offset)
    if tree is not None and tree.language == MARKDOWN:
        if fence := fence_at(snapshot, offset, tree):
            return _gap_in_fence(snapshot, offset, fence, invoked)
        touches_fence = cursor.after.lstrip().startswith(("```", "~~~"))
        return None if touches_fence or (cursor.is_in_word and not invoked) else _prose_gap(cursor, prose_at(cursor))
    if cursor.is_in_word and not invoked:
        return None
    around = enclosure(tree, snapshot.lines.byte_offset(offset)) if tree else _plain_enclosure(cursor)
    if around.text is not Text.NONE:
        return _text_gap(cursor, around)
    if cursor.is_on_blank_line:
        return _blank_line_gap(cursor, around, tree)
    return _line_gap(cursor, around, tree, invoked)


def _text_gap(cursor: Cursor, around: Enclosure) -> Gap:
    kind = GapKind.STRING if around.text is Text.STRING else GapKind.COMMENT
    spans_lines = around.spans_lines and cursor.is_on_blank_line
    indent = expected_indent(cursor, opens_block=False) if cursor.is_on_blank_line else indent_of(cursor.before)
    return _gap(cursor, kind, EndRule.CLOSER if around.closer else EndRule.LINE, spans_lines, indent, around.closer)


def _blank_line_gap(cursor: Cursor, around: Enclosure, tree: SyntaxTree | None) -> Gap:
    language = tree.language if tree else None
    bracket = around.bracket
    if bracket and not bracket.is_block and bracket.end is not None:
        indent = expected_indent(cursor, ends_like_an_opener(cursor.above))
        return _gap(cursor, GapKind.BRACKET, EndRule.CLOSER, True, indent, bracket.closer)
    opens = opens_block(cursor.above, language) or (language is None and ends_like_an_opener(cursor.above))
    body_follows = len(indent_of(cursor.below)) > len(indent_of(cursor.above)) and cursor.below is not None
    if opens and body_follows:
        indent = max(cursor.before, indent_of(cursor.below), key=len)
        return _gap(cursor, GapKind.STATEMENT, EndRule.STATEMENT, True, indent, unclosed=around.unclosed)
    if opens:
        indent = expected_indent(cursor, opens_block=True)
        return _gap(cursor, GapKind.BLOCK, EndRule.DEDENT, True, indent, unclosed=around.unclosed)
    if tree and language == PYTHON and _continues_stub(cursor, tree):
        return _gap(cursor, GapKind.BLOCK, EndRule.DEDENT, True, cursor.before or indent_of(cursor.above))
    indent = expected_indent(cursor, opens_block=False)
    return _gap(cursor, GapKind.STATEMENT, EndRule.STATEMENT, True, indent, unclosed=around.unclosed)


def _continues_stub(cursor: Cursor, tree: SyntaxTree) -> bool:
    level = indent_of(cursor.above)
    written_below = cursor.below is not None and len(indent_of(cursor.below)) >= len(level)
    if not level or written_below or cursor.before not in ("", level):
        return False
    return is_unwritten_body(tree, cursor.snapshot.lines.byte_offset(cursor.offset))


def _line_gap(cursor: Cursor, around: Enclosure, tree: SyntaxTree | None, invoked: bool) -> Gap | None:
    language, bracket = tree.language if tree else None, around.bracket
    opens = not cursor.after.strip() and opens_block(cursor.before, language)
    in_bracket = bracket is not None and not bracket.is_block
    if opens and not (in_bracket and bracket and bracket.end is not None):
        written = cursor.below is not None and len(indent_of(cursor.below)) > len(indent_of(cursor.before))
        if written and not invoked:
            return None
        indent = indent_of(cursor.before) + cursor.snapshot.indent_unit
        return _gap(cursor, GapKind.BLOCK, EndRule.DEDENT, True, indent, unclosed=around.unclosed)
    if not invoked and not cursor.after.strip() and re.search(r"[;}]\s*$", cursor.before):
        return None
    indent = indent_of(cursor.before)
    if bracket and bracket.end is not None and not cursor.before.endswith(";"):
        inside = cursor.snapshot.lines.offset_of_byte(bracket.start), cursor.snapshot.lines.offset_of_byte(bracket.end)
        between = cursor.snapshot.text[slice(*inside)]
        if bracket.is_block and not between.strip():
            return _gap(cursor, GapKind.BLOCK, EndRule.CLOSER, False, indent, bracket.closer)
        if in_bracket:
            empty_over_lines = not between.strip() and "\n" in between and not cursor.after.strip()
            indent = indent + cursor.snapshot.indent_unit if empty_over_lines else indent
            return _gap(cursor, GapKind.BRACKET, EndRule.CLOSER, empty_over_lines, indent, bracket.closer)
    kind = GapKind.LINE_TAIL if cursor.is_at_line_tail else GapKind.INLINE
    return _gap(cursor, kind, EndRule.LINE, False, indent, unclosed=around.unclosed)


def opens_block(line: str | None, language: Language | None) -> bool:
    """Whether a line ends where its language begins a block of statements."""
    if not line or language is None:
        return False
    if language.blocks == ":":
        return bool(_PYTHON_BLOCK.search(line))
    return bool(_BRACE_BLOCK.search(line)) if language.blocks else False


_PYTHON_BLOCK = re.compile(
    r"^\s*(?:(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b|\)).*:\s*(?:#.*)?$"
)
_BRACE_BLOCK = re.compile(
    r"(?:\)|=>|\b(?:else|try|finally|do|static)|\b(?:class|interface|enum|namespace)\b[^{}]*|\)\s*:[^{}]*)\s*\{\s*(?://.*)?$"
)


def _plain_enclosure(cursor: Cursor) -> Enclosure:
    """Without a grammar: the closers missing on this line alone."""
    opened: list[str] = []
    pairs = {"(": ")", "[": "]", "{": "}"}
    for char in cursor.before:
        if char in pairs:
            opened.append(pairs[char])
        elif opened and char == opened[-1]:
            opened.pop()
    for char in cursor.after:
        if opened and char == opened[-1]:
            opened.pop()
    return Enclosure(unclosed="".join(reversed(opened)))


def _gap_in_fence(snapshot: DocumentSnapshot, offset: int, fence: Fence, invoked: bool) -> Gap | None:
    if not fence.start <= offset <= fence.end:
        return None
    text = snapshot.text[fence.start : fence.end]
    name = fence.language.name if fence.language else ""
    inner = DocumentSnapshot(f"{snapshot.uri}#code", snapshot.version, name, text)
    tree = parse(fence.language, utf8(text)) if fence.language and fence.language != MARKDOWN else None
    gap = find_gap(inner, offset - fence.start, tree, invoked=invoked)
    return gap and replace(gap, start=gap.start + fence.start, end=gap.end + fence.start)


_PROSE_KINDS = {
    Prose.HEADING: GapKind.HEADING,
    Prose.LIST_ITEM: GapKind.LIST_ITEM,
    Prose.PARAGRAPH: GapKind.PARAGRAPH,
    Prose.TABLE: GapKind.LINE_TAIL,
}


def _prose_gap(cursor: Cursor, prose: Prose) -> Gap:
    if cursor.after.strip():
        return _gap(cursor, GapKind.INLINE, EndRule.LINE, False, indent_of(cursor.before))
    next_line = cursor.snapshot.lines.content(cursor.line + 1)
    spans_lines = prose is Prose.PARAGRAPH and not next_line.strip() and not cursor.before.lstrip().startswith(">")
    end = EndRule.PARAGRAPH if spans_lines else EndRule.LINE
    return _gap(cursor, _PROSE_KINDS[prose], end, spans_lines, indent_of(cursor.before))


def _gap(
    cursor: Cursor,
    kind: GapKind,
    end_rule: EndRule,
    may_span_lines: bool,
    indent: str,
    closer: str = "",
    unclosed: str = "",
) -> Gap:
    longer = may_span_lines and kind in (GapKind.BRACKET, GapKind.STRING, GapKind.COMMENT)
    return Gap(
        kind=kind,
        start=cursor.offset,
        end=cursor.offset,
        end_rule=end_rule,
        may_span_lines=may_span_lines,
        max_tokens=_MAX_TOKENS[kind] * (_MORE_LINES if longer else 1),
        indent=indent,
        closer=closer,
        unclosed=unclosed,
    )
