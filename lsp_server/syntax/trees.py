"""Syntax trees within a time limit: hostile text costs a bounded wait and is then read by plain rules."""

from __future__ import annotations

import re
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.languages import YAML, Language, grammar, language_of

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

PARSE_LIMIT_S = 0.25
"""A 10,000-line file takes 0.04 s on one core; whatever takes longer than this is not worth a wait."""

INJECTED_LIMIT_S = 0.05
"""The same for a piece of another language, which is parsed anew at every key."""

RETRY_S = 30.0
"""For so long a document that took too long is read by plain rules, and not tried again at every key."""

MAX_ERRORS = 200
SMALL = 16_000
"""Bytes up to which a document is parsed whole at every key."""

LOCAL = 64_000
"""Bytes of the largest neighbourhood that is parsed instead of a larger document."""

MAX_YAML_DEPTH = 120
"""Columns, and block indicators on a line. tree-sitter-yaml 0.7.2 overruns its scanner's state, and the process ends
with a segmentation fault, from 254 nested blocks on; each takes a column or an indicator."""

_DEEP_YAML = re.compile(rb"^[ \t]{%d}" % MAX_YAML_DEPTH, re.MULTILINE)
_LONG_LINE = re.compile(rb"[^\n]{%d,}" % (2 * MAX_YAML_DEPTH))
_CHUNK = 1 << 16
"""Bytes handed to the parser at once."""

_PIECE = 1 << 10
"""Bytes handed to :attr:`tree_sitter.Node.text` at once, which copies all of them for every node."""

_buffers: list[bytearray] = []
"""Those that no parse is using. py-tree-sitter 0.26.1 keeps for ever whatever a read callback returned to a parse: it
gets the same few objects again and again."""


@dataclass(frozen=True)
class SyntaxTree:
    """What a grammar makes of one source, which begins at byte ``start`` of its document; offsets are UTF-8 bytes."""

    language: Language
    source: bytes
    tree: Tree
    start: int = 0

    @property
    def root(self) -> Node:
        """The node of the whole document."""
        return self.tree.root_node

    @cached_property
    def cuts(self) -> list[tuple[int, int]]:
        """Start and end of the top-level nodes that parsed well and begin their lines: safe places to cut."""
        children = self.root.children
        return [(c.start_byte, c.end_byte) for c in children if not c.has_error and c.start_point.column == 0]

    def errors(self) -> int:
        """How many places do not parse, counted up to :data:`MAX_ERRORS`."""
        return sum(1 for _ in zip(range(MAX_ERRORS), _errors(self.root), strict=False))


def parse(
    language: Language, source: bytes, previous: SyntaxTree | None = None, limit_s: float = PARSE_LIMIT_S
) -> SyntaxTree | None:
    """Parse ``source``, reusing ``previous`` where the text is the same; None when ``limit_s`` runs out."""
    from tree_sitter import Parser

    if language == YAML and _nests_too_deep(source):
        return None
    deadline = time.monotonic() + limit_s
    buffer, is_parsing, view = _buffers.pop() if _buffers else bytearray(), True, memoryview(source)

    def read(offset: int, _: object) -> bytes | bytearray:
        if not is_parsing:  # Node.text, which reads nothing but bytes, and keeps nothing
            return source[offset : offset + _PIECE]
        buffer[:] = view[offset : offset + _CHUNK]
        return buffer

    def expired(_: int, __: bool) -> bool:
        return time.monotonic() > deadline

    parser = Parser(grammar(language))
    try:
        if previous is None or previous.language != language:
            tree = parser.parse(read, progress_callback=expired)
        else:
            tree = parser.parse(read, _moved(previous, source), progress_callback=expired)
    except ValueError:  # tree-sitter's word for "cancelled"
        return None
    finally:
        is_parsing = False
        buffer.clear()
        _buffers.append(buffer)
    return SyntaxTree(language, source, tree)


class SyntaxTrees:
    """The syntax around the cursor, at a cost that does not grow with the document.

    Of each of the last few documents one whole tree is kept. While edits stay close together, only the top-level
    statements around them are parsed anew; the whole tree follows when they spread.
    """

    def __init__(self, capacity: int = 8, limit_s: float = PARSE_LIMIT_S) -> None:
        self._capacity = capacity
        self._limit_s = limit_s
        self._whole: OrderedDict[str, SyntaxTree] = OrderedDict()
        self._near: dict[str, SyntaxTree] = {}
        """The last neighbourhood parsed of some of these documents."""

        self._retry_at: dict[str, float] = {}

    def around(self, snapshot: DocumentSnapshot, offset: int) -> SyntaxTree | None:
        """The tree around ``offset``; None for a language without grammar, or text that cannot be parsed in time."""
        language = language_of(snapshot.language_id, snapshot.uri)
        if language is None:
            return None
        source, byte = utf8(snapshot.text), snapshot.lines.byte_offset(offset)
        known = self._whole.get(snapshot.uri)
        if known is not None and known.language == language and (near := self._parse_near(snapshot.uri, source, byte)):
            return near
        whole = self._parse_whole(snapshot.uri, language, source)
        return whole and (self._parse_near(snapshot.uri, source, byte) or whole)

    def _parse_near(self, uri: str, source: bytes, byte: int) -> SyntaxTree | None:
        """The neighbourhood of ``byte`` in an edited source; None where that saves nothing."""
        whole, last = self._whole[uri], self._near.pop(uri, None)
        span = _neighbourhood(whole, source, byte)
        if span is None:
            return None
        # Typing goes on where it began; elsewhere nothing of the last neighbourhood is worth keeping.
        previous = last if last and last.start == span[0] else None
        near = parse(whole.language, source[slice(*span)], previous, self._limit_s)
        if near is None:
            return None
        self._near[uri] = replace(near, start=span[0])
        return self._near[uri]

    def _parse_whole(self, uri: str, language: Language, source: bytes) -> SyntaxTree | None:
        known = self._whole.get(uri)
        if known is not None and known.language == language and known.source == source:
            return known
        if time.monotonic() < self._retry_at.get(uri, 0.0):
            return None
        whole = parse(language, source, known, self._limit_s)
        self._whole.pop(uri, None)
        self._near.pop(uri, None)
        if whole is None:
            self._retry_at[uri] = time.monotonic() + RETRY_S
            return None
        self._whole[uri] = whole
        while len(self._whole) > self._capacity:
            self._near.pop(self._whole.popitem(last=False)[0], None)
        return whole

    def whole(self, snapshot: DocumentSnapshot) -> SyntaxTree | None:
        """The tree of the whole document; None where :meth:`around` gives none."""
        if (language := language_of(snapshot.language_id, snapshot.uri)) is None:
            return None
        return self._parse_whole(snapshot.uri, language, utf8(snapshot.text))

    def forget(self, uri: str) -> None:
        """Drop a closed document's tree."""
        self._whole.pop(uri, None)
        self._near.pop(uri, None)
        self._retry_at.pop(uri, None)


def _neighbourhood(whole: SyntaxTree, source: bytes, byte: int) -> tuple[int, int] | None:
    """What to parse of ``source``, which was edited since ``whole``, around ``byte``; None where that saves nothing."""
    if len(source) <= SMALL:
        return None
    start, old_end, new_end = _difference(whole.source, source)
    grown = len(source) - len(whole.source)
    place = byte if byte <= start else byte - grown if byte >= new_end else start
    before = bisect_right(whole.cuts, min(start, place), key=lambda cut: cut[1])
    behind = bisect_left(whole.cuts, max(old_end, place), key=lambda cut: cut[0])
    first = whole.cuts[before - 1][0] if before else 0
    last = whole.cuts[behind][1] + grown if behind < len(whole.cuts) else len(source)
    return (first, last) if last - first <= LOCAL else None


def _nests_too_deep(source: bytes) -> bool:
    if _DEEP_YAML.search(source):
        return True
    marks = (b"- ", b"? ", b": ", b"-\t", b"?\t", b":\t")
    return any(sum(map(line[0].count, marks)) >= MAX_YAML_DEPTH for line in _LONG_LINE.finditer(source))


def _moved(previous: SyntaxTree, source: bytes) -> Tree:
    """A copy of the old tree, told which bytes differ."""
    old = previous.source
    start, old_end, new_end = _difference(old, source)
    tree = previous.tree.copy()
    tree.edit(start, old_end, new_end, _point(old, start), _point(old, old_end), _point(source, new_end))
    return tree


def _difference(old: bytes, new: bytes) -> tuple[int, int, int]:
    """Where two sources begin to differ, and where that ends in each."""
    start = _common(len(old), len(new), lambda low, high: old[low:high] == new[low:high])
    rest_old, rest_new = len(old) - start, len(new) - start
    tail = _common(
        rest_old,
        rest_new,
        lambda low, high: old[len(old) - high : len(old) - low] == new[len(new) - high : len(new) - low],
    )
    return start, len(old) - tail, len(new) - tail


def _common(old: int, new: int, equal: Callable[[int, int], bool]) -> int:
    """How many bytes agree, by bisection: slices compare at memory speed."""
    low, high = 0, min(old, new)
    while low < high:
        middle = (low + high + 1) // 2
        if equal(low, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _point(source: bytes, offset: int) -> tuple[int, int]:
    return source.count(b"\n", 0, offset), offset - (source.rfind(b"\n", 0, offset) + 1)


def _errors(root: Node) -> Iterator[Node]:
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_error or node.is_missing:
            yield node
        if node.has_error:
            pending.extend(node.children)
