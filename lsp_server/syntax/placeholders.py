"""What stands for text not yet written, decided on the tree: a statement, an expression, an empty body, a note."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from lsp_server.syntax.hole_marks import ASKS_FOR_CODE, EXPRESSION, STATEMENT, TODO
from lsp_server.syntax.intent import (
    CLASSES,
    FUNCTIONS,
    NAMELESS,
    gives_result,
    is_inner,
    is_meant,
    may_lack_statements,
    name_of,
    remarks,
    says_something,
    text_of,
    words,
)
from lsp_server.syntax.trees import SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_MAX_DEPTH, _MOST_REMARKS = 40, 50
_NEAR = 2000
"""Bytes looked at behind a note."""

_CLOSES = re.compile(rb"[})\]]|(?:end|fi|done|esac)\b")
_BRANCHES = words("if_statement elif_clause else_clause for_statement while_statement with_statement")
_BODIES = words(
    "block statement_block statement_list compound_statement body_statement constructor_body declaration_list "
    "class_body field_declaration_list module program source_file translation_unit compilation_unit chunk "
    "switch_body switch_block_statement_group match_block"
)


class Form(Enum):
    """How a placeholder is replaced."""

    BODY = auto()
    """an empty body: what is between its delimiters"""
    BLOCK = auto()
    """the only statement of a body"""
    STATEMENT = auto()
    """one among others"""
    EXPRESSION = auto()
    NOTE = auto()
    """a comment, which stays: the text goes behind it"""


@dataclass(frozen=True)
class Placeholder:
    """``start`` to ``end`` are bytes, ``body`` the node around it, ``name`` its function's, or a note's."""

    form: Form
    start: int
    end: int
    body: Node | None = None
    name: str = ""

    @property
    def is_indented(self) -> bool:
        """Whether the body has no delimiters."""
        return (
            self.body is not None
            and self.body.type == "block"
            and self.body.child(0) is not None
            and self.body.child(0).type != "{"
        )


def placeholder(tree: SyntaxTree, match: re.Match[bytes]) -> Placeholder | None:
    """The placeholder at a candidate; None if it is something else, or meant as it is."""
    node = tree.root.descendant_for_byte_range(match.start(), match.end())
    if node is None:
        return None
    if "comment" in node.type:
        return _note(tree, node)
    if match[0].startswith(b"{"):
        return _empty_body(tree, node)
    return _statement(tree, node)


def empty_definitions(tree: SyntaxTree, low: int, high: int) -> Iterator[Placeholder]:
    """Functions of languages whose blocks end with a word, and which hold nothing."""
    for match in re.finditer(rb"\b(?:def|function)\b", tree.source[low:high]):
        node = tree.root.descendant_for_byte_range(low + match.start(), low + match.end())
        node = node and node.parent
        if node is None or node.type not in FUNCTIONS or node.child_count < 2:
            continue
        *_, head, end = node.children
        bare = (
            may_lack_statements(node) and end.type == "end" and head.type not in ("block", "body_statement", "comment")
        )
        if bare and not tree.source[head.end_byte : end.start_byte].strip(b" \t\r\n;") and not is_meant(tree, node):
            yield Placeholder(Form.BODY, head.end_byte, end.start_byte, node, name_of(node))


def _note(tree: SyntaxTree, node: Node) -> Placeholder | None:
    """A note with nothing behind it: its block ends there, or it asks for code and a blank line follows."""
    while node.parent is not None and "comment" in node.parent.type:
        node = node.parent
    source, text = tree.source, text_of(node)
    line_start = source.rfind(b"\n", 0, node.start_byte) + 1
    if source[line_start : node.start_byte].strip() or not TODO.match(text):
        return None
    column, mark = node.start_byte - line_start, source[node.start_byte : node.start_byte + 2].strip()
    end = node.start_byte + len(source[node.start_byte : node.end_byte].rstrip())
    first, *lines = source[end : end + _NEAR].split(b"\n")
    if first.strip():
        return None
    asks, blank = bool(ASKS_FOR_CODE.search(text)), False
    found = Placeholder(Form.NOTE, end, end, _body_around(node), text)
    for line in lines[:_MOST_REMARKS]:
        bare = line.strip()
        if not blank and bare.startswith(mark):  # the note goes on
            end += len(first) + 1 + len(line.rstrip())
            first = line[len(line.rstrip()) :]
            text += "\n" + bare.decode("utf-8", "replace")
            found = replace(found, start=end, end=end, name=text)
        elif bare:
            ends_block = len(line) - len(line.lstrip()) < column or bool(_CLOSES.match(bare))
            return found if ends_block or (blank and asks) else None
        else:
            blank = True
    return found if column or asks else None


def _empty_body(tree: SyntaxTree, node: Node) -> Placeholder | None:
    function = node.parent
    if node.type not in _BODIES or function is None or tree.source[node.start_byte : node.start_byte + 1] != b"{":
        return None
    if function.type not in FUNCTIONS or not may_lack_statements(function) or is_meant(tree, function):
        return None
    if node.start_point.row == node.end_point.row and (is_inner(function) or not gives_result(tree, function)):
        return None  # closed at once: it does nothing for good, unless it must not
    return Placeholder(Form.BODY, node.start_byte + 1, node.end_byte - 1, node, name_of(function))


def _statement(tree: SyntaxTree, leaf: Node) -> Placeholder | None:
    node = leaf
    for _ in range(_MAX_DEPTH):
        parent = node.parent
        is_value = parent is not None and parent.type not in (*_BODIES, "expression_statement")
        if is_value and node.type in ("macro_invocation", "throw_expression") and EXPRESSION.fullmatch(_code(node)):
            return Placeholder(Form.EXPRESSION, node.start_byte, node.end_byte)
        if node.type == "ellipsis" and (found := _ellipsis_value(node)):
            return found
        body = node.parent
        if body is None:
            return None
        if body.type in _BODIES and node.is_named:
            return _whole_statement(tree, node, body)
        node = body
    return None


def _ellipsis_value(node: Node) -> Placeholder | None:
    """``return ...`` and ``x = ...`` within a function; elsewhere an ellipsis is a value."""
    parent = node.parent
    if parent is None or parent.type not in ("return_statement", "assignment"):
        return None
    annotated = parent.type == "assignment" and parent.child_by_field_name("type") is not None
    body = _body_around(node)
    function = body and body.parent
    if annotated or function is None or function.type not in FUNCTIONS:
        return None
    return Placeholder(Form.EXPRESSION, node.start_byte, node.end_byte)


def _whole_statement(tree: SyntaxTree, node: Node, body: Node) -> Placeholder | None:
    code = _code(node)
    if not STATEMENT.fullmatch(code):
        return None
    is_sole = not _has_others(node, body)
    while body.type == "statement_list" and body.parent is not None:
        inner, body = body, body.parent
        is_sole = is_sole and not _has_others(inner, body)
    owner = body.parent
    form = Form.BLOCK if is_sole else Form.STATEMENT
    end = node.end_byte + len(_remark_behind(tree, node))
    found = Placeholder(form, node.start_byte, end, body, name_of(owner) if owner else "")
    if owner is None or owner.type in CLASSES or body.type in ("module", "program", "source_file"):
        return None
    if b"todo!" in code[:12] or code == b"unimplemented!()":
        return found
    if (remark := _remark_behind(tree, node)) and not TODO.match(remark.decode("utf-8", "replace")):
        return None
    if owner.type in FUNCTIONS or owner.type in NAMELESS:
        if not is_sole:
            return found if code == b"..." else None
        return None if is_meant(tree, owner, code) else found
    if owner.type in _BRANCHES and is_sole and code in (b"pass", b"..."):
        noted = TODO.search(remarks(owner) + remarks(body))
        return found if code == b"..." or noted else None
    return None


def _has_others(node: Node, body: Node) -> bool:
    """Whether a body holds more than one of its nodes, comments and a docstring aside."""
    if body.named_child_count > _MOST_REMARKS:
        return True
    return any(says_something(child) and child != node for child in body.named_children)


def _remark_behind(tree: SyntaxTree, node: Node) -> bytes:
    """The comment behind a statement on its line, with the space before it: it goes when the statement goes."""
    end = tree.source.find(b"\n", node.end_byte)
    rest = tree.source[node.end_byte : end if end >= 0 else None].rstrip()
    return rest if rest.lstrip(b" \t;").startswith((b"#", b"//", b"/*", b"--")) else b""


def _body_around(node: Node) -> Node | None:
    around = node.parent
    for _ in range(_MAX_DEPTH):
        if around is None or (around.type in _BODIES and around.type != "statement_list"):
            return around
        around = around.parent
    return None


def _code(node: Node) -> bytes:
    return (node.text or b"").rstrip(b" \t\r\n;")
