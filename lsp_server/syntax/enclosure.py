"""What encloses the cursor, as the grammar sees it: a string, a comment, a bracket, in syntax that is often broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from lsp_server.syntax.trees import SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_PAIRS = {"(": ")", "[": "]", "{": "}", "${": "}"}
_BLOCKS = {"statement_block", "class_body", "switch_body", "interface_body", "object_type", "enum_body"}
_STRINGS = {"string", "template_string"}
_MAX_DEPTH = 100
"""Nodes looked at above the cursor: a file of open brackets alone nests as deep as it is long."""

_MAX_OPEN = 32
"""Unclosed brackets that a fill may close."""

_WHITE = b" \t\r\n\f\v"


class Text(StrEnum):
    """Kinds of enclosing text that is not code."""

    NONE = "none"
    STRING = "string"
    COMMENT = "comment"
    DOCSTRING = "docstring"


@dataclass(frozen=True)
class Bracket:
    """The innermost bracket around the cursor; offsets are bytes of the document.

    ``is_block`` tells statements from expressions, ``end`` is where its closer stands, None if there is none.
    """

    closer: str
    is_block: bool
    start: int
    end: int | None


@dataclass(frozen=True)
class Enclosure:
    """``unclosed`` holds the closers still missing at the cursor, innermost first."""

    text: Text = Text.NONE
    closer: str = ""
    spans_lines: bool = False
    bracket: Bracket | None = None
    unclosed: str = ""


def enclosure(tree: SyntaxTree, byte: int) -> Enclosure:
    """What encloses the byte ``byte`` of the document."""
    byte -= tree.start
    open_here: list[Bracket] = []
    for node in _ancestors(tree, byte):
        if found := _text(node, tree.source, byte):
            return found
        open_here += _brackets(node, byte)
        if len(open_here) >= _MAX_OPEN or (open_here and open_here[-1].end is not None):
            break
    missing = (
        b.closer for b in open_here if b.end is None and (b.closer == "}" or _is_near(tree.source, b.start, byte))
    )
    unclosed = "".join(missing)
    return Enclosure(bracket=_shifted(open_here[0], tree.start) if open_here else None, unclosed=unclosed)


def is_unwritten_body(tree: SyntaxTree, byte: int) -> bool:
    """Whether the Python block that ends before ``byte`` holds nothing yet but a docstring, comments or ``pass``."""
    byte -= tree.start
    block = next((node for node in _ancestors(tree, byte) if node.type == "block"), None)
    if block is None or block.end_byte > byte:
        return False
    return all(_says_nothing(child) for child in block.named_children)


def _ancestors(tree: SyntaxTree, byte: int) -> Iterator[Node]:
    """The leaf left of the cursor, white space skipped, and everything above it.

    Error recovery ends broken nodes at their last token, so the cursor's own position often lies outside of them.
    """
    end = len(tree.source[:byte].rstrip(_WHITE))
    node = tree.root.descendant_for_byte_range(max(0, end - 1), end)
    for _ in range(_MAX_DEPTH):
        if node is None:
            return
        yield node
        node = node.parent


def _text(node: Node, source: bytes, byte: int) -> Enclosure | None:
    if node.type == "comment":
        if source.startswith(b"/*", node.start_byte):
            inside = node.start_byte + 2 <= byte <= node.end_byte - 2
            return Enclosure(Text.COMMENT, "*/", spans_lines=True) if inside else None
        on_its_line = not any(end in source[node.start_byte : byte] for end in (b"\n", b"\r"))
        return Enclosure(Text.COMMENT) if on_its_line and byte > node.start_byte else None
    if node.type not in _STRINGS or node.child_count < 2:
        return None
    first, last = node.child(0), node.child(node.child_count - 1)
    if last.is_missing or not first.end_byte <= byte <= last.start_byte:
        return None
    closer = source[last.start_byte : last.end_byte].decode("utf-8", "replace")
    kind = Text.DOCSTRING if _is_docstring(node) else Text.STRING
    return Enclosure(kind, closer, spans_lines=len(closer) == 3 or closer == "`")


def _is_docstring(node: Node) -> bool:
    statement = node.parent
    if statement is None or statement.type != "expression_statement" or statement.parent is None:
        return False
    body = statement.parent
    first = next((child for child in body.named_children if child.type != "comment"), None)
    return body.type in ("block", "module") and first == statement


def _brackets(node: Node, byte: int) -> list[Bracket]:
    """The brackets among a node's own tokens that are open at ``byte``, innermost first, up to one that is closed."""
    opened: list[Node] = []
    later = 0
    closer: Node | None = None
    for child in node.children:
        if child.end_byte <= byte and not child.is_missing:
            if child.type in _PAIRS:
                opened.append(child)
            elif opened and child.type == _PAIRS[opened[-1].type]:
                opened.pop()
        elif child.type in _PAIRS:
            later += 1
        elif child.type in _PAIRS.values() and not child.is_missing:
            if not later:
                closer = child
                break
            later -= 1
    is_block = node.type in _BLOCKS
    if opened and closer is not None and closer.type == _PAIRS[opened[-1].type]:
        return [Bracket(closer.type, is_block, opened[-1].end_byte, closer.start_byte)]
    return [Bracket(_PAIRS[opener.type], is_block, opener.end_byte, None) for opener in opened[: -_MAX_OPEN - 1 : -1]]


def _shifted(bracket: Bracket, start: int) -> Bracket:
    end = None if bracket.end is None else bracket.end + start
    return replace(bracket, start=bracket.start + start, end=end)


def _is_near(source: bytes, start: int, byte: int) -> bool:
    """Whether no blank line separates a bracket from the cursor: beyond one it is somebody else's mistake."""
    return not re.search(rb"\n[ \t]*\r?\n", source[start:byte])


def _says_nothing(node: Node) -> bool:
    if node.type == "expression_statement":
        return all(child.type in ("string", "ellipsis") for child in node.named_children)
    return node.type in ("comment", "pass_statement")
