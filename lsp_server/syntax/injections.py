"""A piece of another language around the cursor: a Markdown fence, a page's script and style, the page around PHP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.languages import CSS, HTML, JAVASCRIPT, JSON, MARKDOWN, PHP, TYPESCRIPT, Language
from lsp_server.syntax.markdown import fence_at
from lsp_server.syntax.trees import LOCAL, SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_PHP_CODE = re.compile(r"<\?(?:php\b|=).*?(?:\?>|\Z)", re.DOTALL)
_SCRIPTS = ((re.compile(r"json|importmap"), JSON), (re.compile(r"\bts\b|typescript"), TYPESCRIPT))


@dataclass(frozen=True)
class Injection:
    """``text`` stands between the str offsets ``start`` and ``end``; without a language plain rules read it."""

    start: int
    end: int
    text: str
    language: Language | None


def injected_at(snapshot: DocumentSnapshot, offset: int, tree: SyntaxTree) -> Injection | None:
    """The piece around ``offset`` that another grammar must read."""
    if tree.language == MARKDOWN:
        fence = fence_at(snapshot, offset, tree)
        if fence is None:
            return None
        return Injection(fence.start, fence.end, snapshot.text[fence.start : fence.end], fence.language)
    if tree.language == HTML:
        return _in_page(snapshot, offset, tree)
    return _around_php(snapshot, offset, tree) if tree.language == PHP else None


def _in_page(snapshot: DocumentSnapshot, offset: int, tree: SyntaxTree) -> Injection | None:
    byte = snapshot.lines.byte_offset(offset) - tree.start
    node = tree.root.descendant_for_byte_range(max(0, byte - 1), byte)
    while node is not None and node.type not in ("script_element", "style_element"):
        node = node.parent
    if node is None:
        return None
    opening, closing = node.child(0), node.child(node.child_count - 1)
    if opening is None or closing is None or not opening.end_byte <= byte <= _start(closing, node):
        return None
    attributes = tree.source[opening.start_byte : opening.end_byte].decode("utf-8", "replace")
    language = CSS if node.type == "style_element" else _script_language(attributes)
    start = snapshot.lines.offset_of_byte(tree.start + opening.end_byte)
    end = snapshot.lines.offset_of_byte(tree.start + _start(closing, node))
    return Injection(start, end, snapshot.text[start:end], language)


def _start(closing: Node, element: Node) -> int:
    return closing.start_byte if closing.type == "end_tag" and not closing.is_missing else element.end_byte


def _script_language(attributes: str) -> Language:
    return next((language for pattern, language in _SCRIPTS if pattern.search(attributes)), JAVASCRIPT)


def _around_php(snapshot: DocumentSnapshot, offset: int, tree: SyntaxTree) -> Injection | None:
    """The page around the code, in which the code is blank: its grammar must see whole tags."""
    byte = snapshot.lines.byte_offset(offset) - tree.start
    node = tree.root.descendant_for_byte_range(max(0, byte - 1), byte)
    if node is None or node.type != "text" or len(tree.source) > LOCAL:
        return None
    start, end = (snapshot.lines.offset_of_byte(tree.start + at) for at in (0, len(tree.source)))
    page = _PHP_CODE.sub(lambda code: re.sub(r"[^\r\n]", " ", code[0]), snapshot.text[start:end])
    return Injection(start, end, page, HTML)
