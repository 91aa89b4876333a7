"""Holes: places where the author has said that code is still to be written. Candidates by text, decided by the tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.cursor import Cursor, indent_of
from lsp_server.syntax.gaps import EndRule, Gap, GapKind
from lsp_server.syntax.hole_marks import CANDIDATE
from lsp_server.syntax.languages import language_of
from lsp_server.syntax.placeholders import Form, Placeholder, empty_definitions, placeholder
from lsp_server.syntax.trees import SyntaxTree, parse

MAX_HOLES, MAX_CANDIDATES = 200, 5000
PARSE_LIMIT_S = 2.0
"""In a thread and on demand a parse may take longer than at a keystroke."""

_DATA = frozenset({"markdown", "json", "yaml", "toml", "html", "css"})
_LABEL = 40
_KINDS = {
    Form.BODY: (GapKind.BLOCK, EndRule.DEDENT, 127),
    Form.BLOCK: (GapKind.BLOCK, EndRule.DEDENT, 127),
    Form.STATEMENT: (GapKind.STATEMENT, EndRule.STATEMENT, 63),
    Form.NOTE: (GapKind.STATEMENT, EndRule.STATEMENT, 63),
    Form.EXPRESSION: (GapKind.INLINE, EndRule.LINE, 31),
}
"""What kind of gap takes a placeholder's place, where it ends, and how many tokens it may have."""


@dataclass(frozen=True, kw_only=True)
class Hole:
    """Replace the str span ``start`` to ``end`` with ``before``, a fill and ``behind``.

    ``gap`` is as of the document in which the hole is :meth:`opened`; ``label`` names the place in a few words.
    """

    start: int
    end: int
    before: str
    behind: str
    gap: Gap
    label: str

    def opened(self, snapshot: DocumentSnapshot, fill: str = "") -> DocumentSnapshot:
        """The document without the placeholder: where the gap is stands nothing, or ``fill``."""
        text = snapshot.text[: self.start] + self.before + fill + self.behind + snapshot.text[self.end :]
        return replace(snapshot, text=text)

    def moved(self, by: int) -> Hole:
        """The same hole after the text above it has grown by ``by`` characters."""
        gap = replace(self.gap, start=self.gap.start + by, end=self.gap.end + by)
        return replace(self, start=self.start + by, end=self.end + by, gap=gap)


def find_holes(snapshot: DocumentSnapshot, tree: SyntaxTree) -> tuple[Hole, ...]:
    """The holes of ``snapshot`` that ``tree`` covers, in order, none within another; at most :data:`MAX_HOLES`."""
    return tuple(_holes(snapshot, tree, 0, len(tree.source)))


def holes_of(snapshot: DocumentSnapshot, limit_s: float = PARSE_LIMIT_S) -> tuple[Hole, ...]:
    """The holes of a document, parsed for this alone, in whatever thread; none if it takes longer than ``limit_s``."""
    language = language_of(snapshot.language_id, snapshot.uri)
    tree = parse(language, utf8(snapshot.text), limit_s=limit_s) if language else None
    return find_holes(snapshot, tree) if tree else ()


def hole_at(snapshot: DocumentSnapshot, tree: SyntaxTree, start: int, end: int | None = None) -> Hole | None:
    """The hole on the lines from str offset ``start`` to ``end``, the nearest to ``start``; None if there is none.

    It costs what those lines cost, not what the document does.
    """
    lines = snapshot.lines
    first, last = lines.line_of(start), lines.line_of(start if end is None else end)
    offsets = lines.start(max(0, first - 1)), lines.end(last + 1)
    low, high = (max(0, lines.byte_offset(offset) - tree.start) for offset in offsets)
    touching = (
        hole
        for hole in _holes(snapshot, tree, low, high)
        if lines.line_of(hole.start) <= last and lines.line_of(hole.end) >= first
    )
    return min(touching, key=lambda hole: max(hole.start - start, start - hole.end, 0), default=None)


def _holes(snapshot: DocumentSnapshot, tree: SyntaxTree, low: int, high: int) -> Iterator[Hole]:
    if tree.language.name in _DATA or snapshot.uri.endswith(".pyi"):
        return
    reached, offset, last = 0, 0, -1
    for found in sorted(_placeholders(tree, low, high), key=lambda one: (one.start, -one.end, -len(one.name)))[
        :MAX_HOLES
    ]:
        if found.start < reached or found.start == last:  # two notes with nothing between them are one
            continue
        reached, last = found.end, found.start
        hole = _hole(snapshot, tree, found)
        if hole.start >= offset:
            offset = hole.end
            yield hole


def _placeholders(tree: SyntaxTree, low: int, high: int) -> set[Placeholder]:
    candidates = islice(CANDIDATE.finditer(tree.source, low, high), MAX_CANDIDATES)
    found = {one for match in candidates if (one := placeholder(tree, match))}
    return found.union(empty_definitions(tree, low, high)) if tree.language.name in ("ruby", "lua") else found


def _hole(snapshot: DocumentSnapshot, tree: SyntaxTree, found: Placeholder) -> Hole:
    form, (start, end) = found.form, _span(snapshot, tree, found.start, found.end)
    head, tail = Cursor(snapshot, start), Cursor(snapshot, end)
    if form in (Form.BLOCK, Form.STATEMENT) and (head.before.strip() or tail.after.strip(" \t;")):
        form, (start, end) = _within_line(snapshot, tree, found, head)
    indent, eol = indent_of(head.before), snapshot.line_ending
    before = behind = ""
    if form is Form.NOTE:
        before = eol + indent
    elif form is Form.BODY:
        outer, indent = indent, indent + snapshot.indent_unit
        before = eol + indent
        behind = eol + outer if tail.after.strip() or not found.is_indented else ""
    kind, end_rule, tokens = _KINDS[form]
    at = start + len(before)
    spans_lines = form is not Form.EXPRESSION
    gap = Gap(
        kind=kind, start=at, end=at, end_rule=end_rule, may_span_lines=spans_lines, max_tokens=tokens, indent=indent
    )
    return Hole(start=start, end=end, before=before, behind=behind, gap=gap, label=_label(snapshot, found, start, end))


def _within_line(
    snapshot: DocumentSnapshot, tree: SyntaxTree, found: Placeholder, head: Cursor
) -> tuple[Form, tuple[int, int]]:
    """A statement that shares its line: its body is spread over lines if it holds nothing else."""
    body = found.body
    if found.form is Form.BLOCK and body is not None:
        inside = body.start_byte + 1, body.end_byte - 1
        if tree.source[body.start_byte : inside[0]] == b"{" and b"/" not in tree.source[inside[0] : found.start]:
            return Form.BODY, _span(snapshot, tree, *inside)
        if found.is_indented and head.before.rstrip().endswith(":"):
            colon = found.start - len(head.before) + len(head.before.rstrip())
            return Form.BODY, _span(snapshot, tree, colon, found.end)
    end = found.start + len(tree.source[found.start : found.end].rstrip(b"; \t\r\n"))
    return Form.EXPRESSION, _span(snapshot, tree, found.start, end)


def _span(snapshot: DocumentSnapshot, tree: SyntaxTree, start: int, end: int) -> tuple[int, int]:
    return snapshot.lines.offset_of_byte(tree.start + start), snapshot.lines.offset_of_byte(tree.start + end)


def _label(snapshot: DocumentSnapshot, found: Placeholder, start: int, end: int) -> str:
    if found.form is Form.NOTE:
        words = " ".join(found.name.strip("/*#-; ").split())
        return f"after “{words if len(words) <= _LABEL else words[: _LABEL - 1] + '…'}”"
    if found.name and found.form is not Form.STATEMENT:
        return f"the body of {found.name}"
    words = " ".join(snapshot.text[start:end].split())
    return words if len(words) <= _LABEL else words[: _LABEL - 1] + "…"
