"""Spans to cut out of real files: what people might be about to write, found by the grammar."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsp_server.positions import LineIndex
from lsp_server.syntax.languages import Blocks
from lsp_server.syntax.quotes import quotes
from lsp_server.syntax.trees import SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

LINE_LEVEL = ("rest of line", "expression", "argument", "string", "comment")
SHARES = {
    "rest of line": 3,
    "expression": 3,
    "argument": 2,
    "string": 2,
    "comment": 1,
    "statement": 3,
    "body": 3,
}
LONGEST = 12
"""Lines of the longest statement or body that is cut: more than one gap's worth is written in several."""

_OPENERS = ("(", "[", "{")
_CONTAINERS = {"object", "array", "block_mapping", "block_sequence", "table", "inline_table", "section", "element"}
_VALUES = {"block_mapping", "block_sequence"}


@dataclass(frozen=True)
class Span:
    """Str offsets of a span, and how many characters of indentation before it are taken away too."""

    what: str
    start: int
    end: int
    stripped: int = 0


def spans_of(source: str, tree: SyntaxTree, rng: random.Random, count: int) -> Iterator[Span]:
    """``count`` spans at most, of as many kinds as the file holds."""
    found: dict[str, list[Span]] = defaultdict(list)
    for span in _candidates(source, tree):
        found[span.what].append(span)
    for _ in range(count):
        names = [what for what in SHARES if found[what]]
        if not names:
            return
        what = rng.choices(names, [SHARES[name] for name in names])[0]
        span = found[what].pop(rng.randrange(len(found[what])))
        line = source[source.rfind("\n", 0, span.start) + 1 : span.start]
        # Half of the time the line is empty: editors strip white space.
        stripped = len(line) if what in ("statement", "body") and not line.strip() and rng.random() < 0.5 else 0
        yield Span(what, span.start, span.end, stripped)


def _candidates(source: str, tree: SyntaxTree) -> Iterator[Span]:
    lines, language = LineIndex(source), tree.language

    def span(what: str, start: int, end: int) -> Iterator[Span]:
        first, last = lines.offset_of_byte(start), lines.offset_of_byte(end)
        text = source[first:last]
        last -= len(text) - len(text.rstrip())
        first += len(text) - len(text.lstrip())
        if last - first < 2 or (what in LINE_LEVEL and "\n" in source[first:last]):
            return
        before = source[source.rfind("\n", 0, first) + 1 : first]
        after = source[last : (source + "\n").index("\n", last)]
        owns_lines = not before.strip() and not after.strip(" \t;,")
        if what == "statement" and owns_lines:
            last += len(after.rstrip())
        if what in ("statement", "body") and source.count("\n", first, last) >= LONGEST:
            return
        if what in ("expression", "argument") and not before.strip():
            return
        if what in ("statement", "body") and not owns_lines:
            return
        if what == "body" and not source[:first].rstrip().endswith("{") and before and not before.isspace():
            return
        yield Span(what, first, last)

    pending: list[Node] = [tree.root]
    while pending:
        node = pending.pop()
        if node.is_error:
            continue
        kind = node.type
        if kind in language.comments:
            text = tree.source[node.start_byte : node.end_byte]
            words = list(re.finditer(rb"(?<=[ \t])\S", text.split(b"\n")[0]))
            if words and not text.startswith(b"#!"):
                end = node.start_byte + len(text.split(b"\n")[0].rstrip(b" */->"))
                yield from span("comment", node.start_byte + words[len(words) // 2].start(), end)
            continue
        if kind in language.strings:
            if found := quotes(node, tree.source):
                yield from span("string", found[0], found[1])
            continue
        pending.extend(node.named_children)
        parent = node.parent
        if parent is None:
            continue
        yield from _in(node, parent, tree, span)
    yield from _rests(source, tree, lines)


def _in(node: Node, parent: Node, tree: SyntaxTree, span) -> Iterator[Span]:  # type: ignore[no-untyped-def]
    language = tree.language
    if language.name == "markdown":
        if node.type == "paragraph" and parent.type == "section":
            yield from span("statement", node.start_byte, node.end_byte)
        return
    body = node.type in language.bodies
    holds = parent.type in language.bodies or parent.type in _CONTAINERS or parent.parent is None
    if body or node.type in _VALUES or (node.type in ("object", "array", "element") and not language.bodies):
        inner = _interior(node, tree)
        if inner:
            yield from span("body", *inner)
    if node.type in ("start_tag", "end_tag", "erroneous_end_tag"):
        return
    if holds:
        yield from span("statement", node.start_byte, node.end_byte)
    elif node.start_point.row == node.end_point.row:
        first = parent.child(0)
        if first is not None and first.type in _OPENERS:
            yield from span("argument", node.start_byte, node.end_byte)
        else:
            yield from span("expression", node.start_byte, node.end_byte)


def _interior(node: Node, tree: SyntaxTree) -> tuple[int, int] | None:
    """Between the braces or tags of a body; all of it where it has none."""
    opening = next((child for child in node.children if child.type in ("{", "[", "do", "start_tag")), None)
    closing = node.children[-1] if node.children else None
    if opening is not None and closing is not None and closing.type in ("}", "]", "done", "end", "end_tag"):
        if opening.end_point.row == closing.start_point.row:
            return None
        return opening.end_byte, closing.start_byte
    if opening is not None or tree.language.blocks is Blocks.BRACE:
        return None
    return node.start_byte, node.end_byte


def _rests(source: str, tree: SyntaxTree, lines: LineIndex) -> Iterator[Span]:
    """The rest of some lines, from where a token begins."""
    for match in re.finditer(r"(?<=[ .(\[,=])[A-Za-z0-9_\"'$(\[{]", source):
        end = source.find("\n", match.start())
        end = len(source) if end < 0 else end
        before = source[source.rfind("\n", 0, match.start()) + 1 : match.start()]
        node = tree.root.descendant_for_byte_range(*(lines.byte_offset(match.start()),) * 2)
        inside = node
        while inside is not None and inside.type not in (*tree.language.strings, *tree.language.comments):
            inside = inside.parent
        text = source[match.start() : end].rstrip()
        if before.strip() and len(text) > 1 and inside is None and "//" not in before and "#" not in before:
            yield Span("rest of line", match.start(), match.start() + len(text))
