"""Markdown at the cursor: which kind of line, or which code fence. Only the block grammar, which is quick."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.cursor import Cursor
from lsp_server.syntax.languages import Language, language_of_fence
from lsp_server.syntax.trees import SyntaxTree

_HEADING = re.compile(r"^ {0,3}#{1,6}(\s|$)")
_LIST_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,9}[.)])(\s|$)")


class Prose(StrEnum):
    """Kinds of Markdown lines."""

    HEADING = "heading"
    LIST_ITEM = "list item"
    PARAGRAPH = "paragraph"
    TABLE = "table"


@dataclass(frozen=True)
class Fence:
    """The lines of a code fence between its delimiters, as str offsets; ``end`` is its last line's end."""

    start: int
    end: int
    language: Language | None


def prose_at(cursor: Cursor) -> Prose:
    """What the cursor's line is, or what a blank line continues."""
    line = cursor.before + cursor.after
    if not line.strip() and cursor.line > 0:
        line_above = cursor.snapshot.lines.content(cursor.line - 1)
        return Prose.LIST_ITEM if _LIST_ITEM.match(line_above) else Prose.PARAGRAPH
    if _HEADING.match(line):
        return Prose.HEADING
    if _LIST_ITEM.match(line):
        return Prose.LIST_ITEM
    return Prose.TABLE if line.lstrip().startswith("|") else Prose.PARAGRAPH


def fence_at(snapshot: DocumentSnapshot, offset: int, tree: SyntaxTree) -> Fence | None:
    """The code fence around ``offset``, its delimiter lines included."""
    lines = snapshot.lines
    byte = lines.byte_offset(offset) - tree.start
    node = tree.root.descendant_for_byte_range(max(0, byte - 1), byte)
    while node is not None and node.type != "fenced_code_block":
        node = node.parent
    if node is None:
        return None
    info = next((child for child in node.children if child.type == "info_string"), None)
    words = tree.source[info.start_byte : info.end_byte].decode("utf-8", "replace") if info else ""
    first = lines.line_of(lines.offset_of_byte(tree.start + node.start_byte))
    delimiters = [child for child in node.children if child.type == "fenced_code_block_delimiter"]
    start, end = lines.start(first + 1), lines.offset_of_byte(tree.start + node.end_byte)
    if len(delimiters) > 1:
        last = lines.line_of(lines.offset_of_byte(tree.start + delimiters[-1].start_byte))
        if lines.line_of(offset) > last:
            return None
        end = max(start, lines.end(last - 1))
    return Fence(start, end, language_of_fence(words))
