"""What encloses the cursor, as the grammar sees it: a string, a comment, a bracket, in syntax that is often broken."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from lsp_server.syntax.language import Blocks, Language
from lsp_server.syntax.quotes import quotes
from lsp_server.syntax.trees import SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_PAIRS = {
    "(": ")", "[": "]", "{": "}", "${": "}", "#{": "}", "$(": ")", "$((": "))", "((": "))", "[[": "]]", "#[": "]",
    "%{": "}", "@{": "}", "<(": ")",
}  # fmt: skip
_CLOSERS = frozenset(_PAIRS.values())
_TYPE_LISTS = frozenset({"type_arguments", "type_parameters", "template_argument_list", "template_parameter_list"})
"""Brackets of types; elsewhere < is an operator."""

_MAX_DEPTH = 100
"""Nodes looked at above the cursor: a file of open brackets alone nests as deep as it is long."""

_MAX_S = 0.02
"""The time for that: to find a parent, tree-sitter goes down from the root, through all of a hostile depth."""

_MAX_OPEN = 32
"""Unclosed brackets that a fill may close."""

_MAX_CHILDREN = 400
"""Children looked at in one node; of more, the first and the last that lie around the cursor tell enough."""

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
    ``closer`` is empty where words, not brackets, hold statements together. ``owner`` is where the statement begins
    that the block belongs to, and ``is_switch`` says that its lines are cases.
    """

    closer: str
    is_block: bool
    start: int
    end: int | None
    owner: int = 0
    is_switch: bool = False


@dataclass(frozen=True)
class Enclosure:
    """``unclosed`` holds the closers still missing at the cursor, innermost first.

    ``opened_on_line`` holds those of the brackets that the cursor's line opens and does not close: a later line's
    closer may belong to them or not.

    ``in_import`` and ``in_tag`` say that an import or a tag of markup is around the cursor.
    """

    text: Text = Text.NONE
    closer: str = ""
    is_empty: bool = False
    bracket: Bracket | None = None
    unclosed: str = ""
    opened_on_line: str = ""
    in_import: bool = False
    in_tag: bool = False


def enclosure(tree: SyntaxTree, byte: int) -> Enclosure:
    """What encloses the byte ``byte`` of the document."""
    byte -= tree.start
    language = tree.language
    open_here: list[Bracket] = []
    found = Enclosure()
    line_start, line_end = _line(tree.source, byte)
    on_line = ""
    for node in _ancestors(tree, byte):
        if found.text is Text.NONE and not open_here and (text := _text(node, language, tree.source, byte)):
            found = text
        if node.type in language.imports and node.start_byte < byte:
            found = replace(found, in_import=True)
        if node.type in ("start_tag", "self_closing_tag") and node.start_byte < byte < node.end_byte:
            found = replace(found, in_tag=True)
        if found.text is Text.NONE:
            brackets = _brackets(node, language, byte)
            on_line += "".join(
                b.closer for b in brackets if b.start > line_start and (b.end is None or b.end > line_end)
            )
            if not open_here or open_here[-1].end is None:
                open_here += brackets
            if len(open_here) >= _MAX_OPEN or (
                open_here and open_here[-1].end is not None and node.start_byte < line_start
            ):
                break
    missing = (
        b.closer for b in open_here if b.end is None and (b.closer == "}" or _is_near(tree.source, b.start, byte))
    )
    bracket = _shifted(open_here[0], tree.start) if open_here else None
    return replace(found, bracket=bracket, unclosed="".join(missing), opened_on_line=on_line)


def plain_enclosure(before: str, after: str) -> Enclosure:
    """Without a grammar: the closers that the line, ``before`` and ``after`` the cursor, still misses."""
    opened: list[str] = []
    for char in before:
        if char in "([{":
            opened.append(_PAIRS[char])
        elif opened and char == opened[-1]:
            opened.pop()
    for char in after:
        if opened and char == opened[-1]:
            opened.pop()
    return Enclosure(unclosed="".join(reversed(opened)))


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
    end = len(tree.source[max(0, byte - 4096) : byte].rstrip(_WHITE)) + max(0, byte - 4096)
    node = tree.root.descendant_for_byte_range(max(0, end - 1), end)
    deadline = time.monotonic() + _MAX_S
    for _ in range(_MAX_DEPTH):
        if node is None or time.monotonic() > deadline:
            return
        yield node
        node = node.parent


def _line(source: bytes, byte: int) -> tuple[int, int]:
    start, end = source.rfind(b"\n", 0, byte) + 1, source.find(b"\n", byte)
    return start, end if end >= 0 else len(source)


def _text(node: Node, language: Language, source: bytes, byte: int) -> Enclosure | None:
    if node.type in language.comments:
        return _comment(node, language, source, byte)
    if node.type not in language.strings or (found := quotes(node, source)) is None:
        return None
    start, end, closer = found
    if not start <= byte <= end:
        return None
    kind = Text.DOCSTRING if _is_docstring(node) else Text.STRING
    return Enclosure(kind, closer, is_empty=not source[start:end].strip())


def _comment(node: Node, language: Language, source: bytes, byte: int) -> Enclosure | None:
    is_doc = any(source.startswith(mark.encode(), node.start_byte) for mark in language.doc_marks)
    kind = Text.DOCSTRING if is_doc else Text.COMMENT
    opener, closer = language.block_comment or ("", "")
    if opener and source.startswith(opener.encode(), node.start_byte):
        start = node.start_byte + len(opener) + (is_doc and not source.startswith(b"/**/", node.start_byte))
        end = node.end_byte - len(closer)
        inside = start <= byte <= end
        return Enclosure(kind, closer, is_empty=not source[start:end].strip()) if inside else None
    on_its_line = not any(end in source[node.start_byte : byte] for end in (b"\n", b"\r"))
    return Enclosure(kind) if on_its_line and byte > node.start_byte else None


def _is_docstring(node: Node) -> bool:
    statement = node.parent
    if statement is None or statement.type != "expression_statement" or statement.parent is None:
        return False
    body = statement.parent
    first = next((child for child in body.named_children if child.type != "comment"), None)
    return body.type in ("block", "module") and first == statement


def _brackets(node: Node, language: Language, byte: int) -> list[Bracket]:
    """The brackets among a node's own tokens that are open at ``byte``, innermost first, up to one that is closed."""
    opened: list[tuple[str, Node]] = []
    later = 0
    closer = ""
    closer_at = 0
    for child in _children(node):
        token = _token(child, node)
        if child.end_byte <= byte and not child.is_missing:
            if opened and token == _closer(opened[-1][0]):
                opened.pop()
            elif token in _PAIRS or token == "<":
                opened.append((token, child))
        elif token in _PAIRS or token == "<":
            later += 1
        elif (token in _CLOSERS or token == ">") and not child.is_missing:
            if not later:
                closer, closer_at = token, child.start_byte
                break
            later -= 1
    is_block = node.type in language.bodies
    if opened and closer and closer == _closer(opened[-1][0]):
        start = opened[-1][1].end_byte
        owner = node.parent.start_byte if is_block and node.parent is not None else start
        is_switch = is_block and any("switch" in one.type for one in (node, node.parent) if one is not None)
        return [Bracket(closer, is_block, start, closer_at, owner, is_switch)]
    open_ended = [Bracket(_closer(token), is_block, child.end_byte, None) for token, child in reversed(opened)]
    if open_ended:
        return open_ended[:_MAX_OPEN]
    # Words hold statements together as brackets do: what stands outside of them says nothing about the cursor.
    holds_words = language.blocks is Blocks.WORD and (is_block or node.type in language.functions)
    return [Bracket("", True, node.start_byte, node.end_byte)] if holds_words and byte <= node.end_byte else []


def _children(node: Node) -> list[Node]:
    if node.child_count <= _MAX_CHILDREN:
        return node.children
    few = _MAX_CHILDREN // 20
    places = (*range(few), *range(node.child_count - few, node.child_count))
    return [child for place in places if (child := node.child(place)) is not None]


def _token(child: Node, node: Node) -> str:
    """The bracket that a token is; "" for everything else."""
    kind = child.type
    if kind == "interpolation_brace":
        return "{" if child.start_byte == node.start_byte else "}"
    if kind in ("<", ">"):
        return kind if node.type in _TYPE_LISTS else ""
    return kind if not child.is_named else ""


def _closer(opener: str) -> str:
    return ">" if opener == "<" else _PAIRS[opener]


def _shifted(bracket: Bracket, start: int) -> Bracket:
    end = None if bracket.end is None else bracket.end + start
    return replace(bracket, start=bracket.start + start, end=end, owner=bracket.owner + start)


def _is_near(source: bytes, start: int, byte: int) -> bool:
    """Whether no blank line separates a bracket from the cursor: beyond one it is somebody else's mistake."""
    return not re.search(rb"\n[ \t]*\r?\n", source[start:byte])


def _says_nothing(node: Node) -> bool:
    if node.type == "expression_statement":
        return all(child.type in ("string", "ellipsis") for child in node.named_children)
    return node.type in ("comment", "pass_statement")
