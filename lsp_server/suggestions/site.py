"""Where a fill is about to go: what every filter may look at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.code_tokens import CodeTokens, code_tokens
from lsp_server.syntax.cursor import Cursor, indent_of
from lsp_server.syntax.gap import TEXT_KINDS, Gap, GapKind
from lsp_server.syntax.injections import injected_at
from lsp_server.syntax.languages import MARKDOWN, Blocks, Language, language_of
from lsp_server.syntax.trees import MAX_ERRORS, SMALL, SyntaxTree, parse

if TYPE_CHECKING:
    from tree_sitter import Node

_NEAR = 2000
"""Characters on each side of the gap that a fill is compared with."""

PARSE_LIMIT_S = 0.05
"""A fill that takes longer to parse is judged without its grammar: the editor waits."""

_HEAD = re.compile(rb"^([ \t]*)(?:async[ \t]+)?def\b", re.MULTILINE)
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Site:
    """A gap in a document, with the document's tree if it has one; ``is_injected`` tells code inside a page."""

    snapshot: DocumentSnapshot
    gap: Gap
    tree: SyntaxTree | None = None
    is_injected: bool = False

    @cached_property
    def inmost(self) -> Site:
        """The site as the innermost language sees it: a code fence or a script is a document of its own."""
        if self.tree is not None and len(self.tree.source) > SMALL and self.tree.language.blocks is Blocks.COLON:
            return self._narrowed(self.tree)
        inner = self.tree and injected_at(self.snapshot, self.gap.start, self.tree)
        if not inner or not inner.start <= self.gap.start <= self.gap.end <= inner.end:
            return self
        name = inner.language.name if inner.language else ""
        piece = DocumentSnapshot(f"{self.snapshot.uri}#code", self.snapshot.version, name, inner.text)
        gap = replace(self.gap, start=self.gap.start - inner.start, end=self.gap.end - inner.start)
        return Site(piece, gap, parse(inner.language, utf8(inner.text)) if inner.language else None, is_injected=True)

    def _narrowed(self, tree: SyntaxTree) -> Site:
        """The same with no more of a large tree than the function around the gap, if there is one: it parses sooner."""
        start, end = self.span
        node = tree.root.descendant_for_byte_range(max(0, start - 1), start)
        while node is not None and node.type not in tree.language.functions:
            node = node.parent
        first = node.start_byte if node else _head_above(tree.source, start)
        if first is None or start - first > SMALL:
            return self
        indent = first - tree.source.rfind(b"\n", 0, first) - 1
        behind = re.compile(rb"\n[ \t]{0,%d}[^\s]" % indent).search(tree.source, end)
        source = tree.source[first : behind.start() if behind else len(tree.source)]
        near = parse(tree.language, source) if len(source) < SMALL else None
        return replace(self, tree=replace(near, start=tree.start + first)) if near else self

    @cached_property
    def language(self) -> Language | None:
        """The language that the gap is in; None where plain rules apply."""
        return language_of(self.snapshot.language_id, "" if self.is_injected else self.snapshot.uri)

    @cached_property
    def before(self) -> str:
        """The gap's line, left of the gap."""
        return Cursor(self.snapshot, self.gap.start).before

    @cached_property
    def after(self) -> str:
        """The gap's line, right of the gap."""
        return Cursor(self.snapshot, self.gap.end).after

    @cached_property
    def lines_above(self) -> list[str]:
        """The lines before the gap's own that are not blank, stripped, the nearest last."""
        end = self.gap.start - len(self.before)
        return _stripped(self.snapshot.text[max(0, end - _NEAR) : end])

    @cached_property
    def lines_below(self) -> list[str]:
        """The lines behind the gap's own that are not blank, stripped."""
        end = self.gap.end + len(self.after)
        return _stripped(self.snapshot.text[end : end + _NEAR])

    @property
    def is_code(self) -> bool:
        """Whether brackets and quotes in the gap mean what they mean in code."""
        return self.gap.kind not in TEXT_KINDS and self.language != MARKDOWN

    @cached_property
    def indent_unit(self) -> str:
        """One level of indentation as the lines around the gap have it, else as the document has it."""
        start, end = self.gap.start, self.gap.end
        text = self.snapshot.text
        near = [
            line
            for line in _LINE_END.split(text[max(0, start - _NEAR) : start] + text[end : end + _NEAR])
            if line.strip()
        ]
        steps = Counter(
            indent_of(below).removeprefix(indent_of(line))
            for line, below in pairwise(near)
            if line.rstrip()[-1] in ":{" and len(indent_of(below)) > len(indent_of(line))
        )
        return min(steps, key=lambda step: (-steps[step], len(step))) if steps else self.snapshot.indent_unit

    @cached_property
    def indent_below(self) -> str:
        """The indentation of the next line that is not blank."""
        return indent_of(Cursor(self.snapshot, self.gap.end).below)

    @cached_property
    def indent_above(self) -> str:
        """The indentation of the nearest line above that is not blank."""
        return indent_of(Cursor(self.snapshot, self.gap.start).above)

    @property
    def is_on_blank_line(self) -> bool:
        """Whether the gap's line holds nothing else."""
        return not self.before.strip() and not self.after.strip()

    @cached_property
    def _code_before(self) -> str:
        before = self.before[-_NEAR:]
        if self.gap.kind is GapKind.BRACKET:
            # A quote that is closed right of the gap has it in `${` or the like: there it is code again.
            quote = code_tokens(before, self.language).open_quote
            return "" if quote == "`" or (quote and quote in self.after) else before
        return before

    def tokens(self, text: str) -> CodeTokens:
        """The brackets of a fill, with their places in it, and the quote that is open where it ends."""
        if self.language is not None and self.language.blocks is Blocks.TAG:
            return CodeTokens((), "")
        before = self._code_before
        found = code_tokens(before + text, self.language)
        own = tuple((place - len(before), char) for place, char in found.brackets if place >= len(before))
        return CodeTokens(own, found.open_quote)

    def code(self, text: str) -> Iterator[tuple[int, str]]:
        """The brackets of a fill with their places, without those in strings and line comments."""
        return iter(self.tokens(text).brackets)

    @cached_property
    def span(self) -> tuple[int, int]:
        """Where the gap begins and ends in the tree's source, in bytes."""
        start = self.tree.start if self.tree else 0
        lines = self.snapshot.lines
        return lines.byte_offset(self.gap.start) - start, lines.byte_offset(self.gap.end) - start

    @cached_property
    def errors_elsewhere(self) -> int:
        """Places on other lines that do not parse: somebody's mistake, or more than the grammar knows."""
        if self.tree is None:
            return 0
        start, end = self.span
        first, last = self.tree.source.rfind(b"\n", 0, start) + 1, self.tree.source.find(b"\n", end)
        first = min(
            first, len(self.tree.source[:start].rstrip(b" \t\r\n,;"))
        )  # the separator waits for what is missing
        return sum(
            node.end_byte < first or (0 <= last < node.start_byte)
            for node in islice(broken(self.tree.root), MAX_ERRORS)
        )

    @cached_property
    def _filled(self) -> dict[str, SyntaxTree | None]:
        return {}

    def filled(self, text: str) -> SyntaxTree | None:
        """The tree with ``text`` in the gap; None without a grammar, or where parsing takes too long."""
        if self.tree is None or self.tree.language == MARKDOWN:
            return None
        if text not in self._filled:
            start, end = self.span
            source = self.tree.source[:start] + utf8(text) + self.tree.source[end:]
            self._filled[text] = parse(self.tree.language, source, self.tree, PARSE_LIMIT_S)
        return self._filled[text]


def _head_above(source: bytes, start: int) -> int | None:
    """Where the function around ``start`` begins, by its indentation: broken code has no node for it."""
    line_start = source.rfind(b"\n", 0, start) + 1
    line = source[line_start:start]
    if own := _HEAD.match(source, line_start, start):
        return own.end(1)
    indent = len(line) - len(line.lstrip())
    heads = _HEAD.finditer(source, max(0, start - SMALL), start)
    return max((head.end(1) for head in heads if head.end(1) - head.start() < indent), default=None)


def _stripped(text: str) -> list[str]:
    return [line.strip() for line in _LINE_END.split(text) if line.strip()]


def broken(root: Node) -> Iterator[Node]:
    """The outermost nodes that do not parse, or are missing."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_error or node.is_missing:
            yield node
        elif node.has_error:
            pending.extend(node.children)
