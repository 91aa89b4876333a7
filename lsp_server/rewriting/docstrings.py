"""Where the docstring of a function stands, or would stand, in each language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.cursor import Cursor, indent_of
from lsp_server.syntax.gaps import EndRule, Gap, GapKind
from lsp_server.syntax.holes import Hole
from lsp_server.syntax.trees import SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_MAX_DEPTH = 40
_TOKENS = 62
_LINE_MARKS = {"go": "// {name} ", "rust": "/// ", "ruby": "# ", "lua": "-- ", "shellscript": "# "}


@dataclass(frozen=True)
class Docstring:
    """Of the function ``name``: the ``span`` (str offsets) where it stands; if it is missing, the ``hole`` for one."""

    name: str
    span: tuple[int, int] | None = None
    hole: Hole | None = None


def docstring_at(snapshot: DocumentSnapshot, tree: SyntaxTree, offset: int) -> Docstring | None:
    """The docstring of the function on whose header ``offset`` lies; None where there is no function."""
    byte = snapshot.lines.byte_offset(offset) - tree.start
    row = tree.source.count(b"\n", 0, byte)
    line_start = tree.source.rfind(b"\n", 0, byte) + 1
    line = tree.source[line_start:].split(b"\n", 1)[0]
    first = line_start + len(line) - len(line.lstrip())
    node = tree.root.descendant_for_byte_range(first, first + 1) if line.strip() else None
    for _ in range(_MAX_DEPTH):
        if node is None:
            return None
        function = _function_of(node, tree)
        if function is not None:
            body = function.child_by_field_name("body")
            last = (body or function).start_point.row - (tree.language.name == "python")  # where no brace opens it
            on_header = node.start_point.row <= row <= max(node.start_point.row, last)
            return _docstring(snapshot, tree, node, function) if on_header and body is not None else None
        node = node.parent
    return None


def _function_of(node: Node, tree: SyntaxTree) -> Node | None:
    """The function that a node is, or that it decorates or exports."""
    if node.type in ("export_statement", "decorated_definition"):
        inner = node.child_by_field_name("declaration") or node.child_by_field_name("definition")
        return inner if inner is not None and inner.type in tree.language.functions else None
    outer = node.parent
    wrapped = outer is not None and outer.type in ("export_statement", "decorated_definition")
    return node if node.type in tree.language.functions and not wrapped else None


def _docstring(snapshot: DocumentSnapshot, tree: SyntaxTree, outer: Node, function: Node) -> Docstring | None:
    name = _name(function)
    if not name:
        return None
    if tree.language.name == "python":
        return _python(snapshot, tree, function, name)
    above = outer.prev_named_sibling
    marks = tree.language.doc_marks
    if above is not None and above.type in tree.language.comments and outer.start_point.row - above.end_point.row <= 1:
        text = (above.text or b"").decode("utf-8", "replace")
        is_doc = not marks or text.startswith(marks)
        return Docstring(name, span=_span(snapshot, tree, above, len(text) - len(text.rstrip()))) if is_doc else None
    mark = _LINE_MARKS.get(tree.language.name)
    if mark is None and (tree.language.block_comment is None or tree.language.block_comment[0] != "/*"):
        return None
    before, closer = (mark.format(name=name), "") if mark else ("/** ", "*/")
    start = snapshot.lines.offset_of_byte(tree.start + outer.start_byte)
    indent = indent_of(Cursor(snapshot, start).before)
    behind = (f" {closer}" if closer else "") + snapshot.line_ending + indent
    return Docstring(name, hole=_hole(start, before, behind, indent, closer, name, spans_lines=False))


def _python(snapshot: DocumentSnapshot, tree: SyntaxTree, function: Node, name: str) -> Docstring | None:
    body = function.child_by_field_name("body")
    first = next((child for child in body.named_children if child.type != "comment"), None) if body else None
    if body is None or first is None or body.start_point.row == function.end_point.row == function.start_point.row:
        return None
    if (
        first.type == "expression_statement"
        and first.named_child_count == 1
        and first.named_children[0].type == "string"
    ):
        return Docstring(name, span=_span(snapshot, tree, first.named_children[0]))
    start = snapshot.lines.offset_of_byte(tree.start + first.start_byte)
    indent = Cursor(snapshot, start).before
    if indent.strip():
        return None
    behind = '"""' + snapshot.line_ending + indent
    return Docstring(name, hole=_hole(start, '"""', behind, indent, '"""', name, spans_lines=True))


def _hole(start: int, before: str, behind: str, indent: str, closer: str, name: str, *, spans_lines: bool) -> Hole:
    gap = Gap(
        kind=GapKind.COMMENT,
        start=start + len(before),
        end=start + len(before),
        end_rule=EndRule.CLOSER if closer else EndRule.LINE,
        may_span_lines=spans_lines,
        max_tokens=_TOKENS,
        indent=indent,
        closer=closer,
    )
    return Hole(start=start, end=start, before=before, behind=behind, gap=gap, label=f"the docstring of {name}")


def _span(snapshot: DocumentSnapshot, tree: SyntaxTree, node: Node, shorter: int = 0) -> tuple[int, int]:
    lines = snapshot.lines
    return lines.offset_of_byte(tree.start + node.start_byte), lines.offset_of_byte(
        tree.start + node.end_byte
    ) - shorter


def _name(function: Node) -> str:
    named: Node | None = function
    while named is not None and (inner := named.child_by_field_name("declarator")) is not None:
        named = inner
    named = function.child_by_field_name("name") or (named if named is not function else None)
    return (named.text or b"").decode("utf-8", "replace") if named is not None else ""
