"""Where gaps are cut: character spans of a document, of five kinds.

Kinds and shares follow what editors ask for: rest of a line, a syntax node (AST-FIM, arXiv 2506.00204), some lines,
random characters, nothing at all. More than half of the cuts fall inside a word, as a cursor does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

SHARES = {"line": 0.35, "node": 0.25, "lines": 0.20, "characters": 0.15, "empty": 0.05}
EXCERPT = 12_000  # characters of a long document that are looked at
LONGEST_NODE = 320  # bytes
LONGEST_RUN = 160  # characters
INSIDE_WORD = 0.6  # how often a cut at the start of a word moves into it
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Span:
    """A gap as a half-open range of characters."""

    kind: str
    start: int
    end: int


@cache
def parser(language: str) -> Parser | None:
    """The tree-sitter parser of an LSP language id, where there is one."""
    grammar = _grammars().get(language)
    if grammar is None:
        return None
    from tree_sitter import Language, Parser

    return Parser(Language(grammar()))


@cache
def _grammars() -> dict[str, Callable[[], object]]:
    # Late: a machine that trains on packed shards has no tree-sitter.
    import tree_sitter_javascript
    import tree_sitter_python
    import tree_sitter_typescript

    return {
        "python": tree_sitter_python.language,
        "javascript": tree_sitter_javascript.language,
        "typescript": tree_sitter_typescript.language_typescript,
        "tsx": tree_sitter_typescript.language_tsx,
    }


def excerpt(text: str, rng: random.Random) -> str:
    """All of a short document, or whole lines of a long one."""
    if len(text) <= EXCERPT:
        return text
    start = text.rfind("\n", 0, rng.randrange(len(text) - EXCERPT // 2)) + 1
    end = text.find("\n", start + EXCERPT) + 1
    return text[start : end or len(text)]


def draw_span(text: str, language: str, rng: random.Random, kind: str | None = None) -> Span:
    """A random gap in `text`; `kind` is drawn from `SHARES` when it is not given."""
    kind = kind or rng.choices(list(SHARES), list(SHARES.values()))[0]
    if kind == "empty":
        position = _empty(text, rng)
        return Span(kind, position, position)
    if kind == "node":
        found = _node(text, language, rng)
        if found is None:
            kind = "line"
    if kind == "line":
        found = _line(text, rng)
    elif kind == "lines":
        found = _lines(text, rng)
    elif kind == "characters":
        found = _characters(text, rng)
    assert found is not None
    start, end = found
    return Span(kind, into_word(text, start, end, rng), end)


def into_word(text: str, start: int, end: int, rng: random.Random) -> int:
    """Move a cut at the start of a word into it, as if its first letters had been typed."""
    word = WORD.match(text, start, end)
    if word is None or word.end() - start < 2 or (start and WORD.match(text[start - 1])) or rng.random() > INSIDE_WORD:
        return start
    return rng.randrange(start + 1, word.end())


def _line_bounds(text: str, rng: random.Random) -> tuple[int, int]:
    """A line that is not blank, if ten tries find one; its end excludes the line break."""
    start = end = 0
    for _ in range(10):
        position = rng.randrange(len(text) + 1)
        start = text.rfind("\n", 0, position) + 1
        end = _line_end(text, start)
        if text[start:end].strip():
            break
    return start, end


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    end = len(text) if end < 0 else end
    return end - 1 if end > position and text[end - 1] == "\r" else end


def _line(text: str, rng: random.Random) -> tuple[int, int]:
    start, end = _line_bounds(text, rng)
    first = start + len(text[start:end]) - len(text[start:end].lstrip())
    if first >= end:
        return start, end
    return (first if rng.random() < 0.25 else rng.randrange(first, end)), end


def _lines(text: str, rng: random.Random) -> tuple[int, int]:
    start, end = _line(text, rng)
    for _ in range(rng.randint(1, 7)):
        if end >= len(text):
            break
        end = _line_end(text, text.find("\n", end) + 1)
    return start, end


def _characters(text: str, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(text) + 1)
    return start, min(len(text), start + round(LONGEST_RUN ** rng.random()))


def _empty(text: str, rng: random.Random) -> int:
    return _line_bounds(text, rng)[1] if rng.random() < 0.5 else rng.randrange(len(text) + 1)


def _node(text: str, language: str, rng: random.Random) -> tuple[int, int] | None:
    data = text.encode()
    found = draw_nodes(data, language, 8, rng, enough=1)
    if not found:
        return None
    start, end = found[0]
    first = len(data[:start].decode())
    return first, first + len(data[start:end].decode())


def draw_nodes(
    data: bytes, language: str, tries: int, rng: random.Random, enough: int | None = None
) -> list[tuple[int, int]]:
    """Named nodes of 2 to `LONGEST_NODE` bytes at random places; every size has a chance, not only the many leaves."""
    tree_parser = parser(language)
    if tree_parser is None:
        return []
    root = tree_parser.parse(data).root_node
    found: list[tuple[int, int]] = []
    for _ in range(tries):
        node = _descend(root, rng.randrange(len(data) + 1))
        sizes: list[tuple[int, int]] = []
        while node is not None:
            length = node.end_byte - node.start_byte
            if length > LONGEST_NODE:
                break
            if node.is_named and length >= 2:
                sizes.append((node.start_byte, node.end_byte))
            node = node.parent
        if sizes:
            found.append(rng.choice(sizes))
            if len(found) == enough:
                break
    return found


def _descend(root: Node, position: int) -> Node | None:
    return root.descendant_for_byte_range(position, position)
