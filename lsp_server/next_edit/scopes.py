"""Where in a syntax tree a definition is seen: functions, classes and blocks, less the parts that look past them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

_FUNCTION = re.compile(
    r"function(?!_type|_declarator)|^method(_def|_decl|$)|singleton_method|^lambda$|lambda_expression|closure_expr|^arrow_function|constructor_decl"
)
_CLASS = re.compile(
    r"class_(definition|body|specifier)|^class$|^module$|declaration_list|interface_body|enum_body|impl_item"
)
_BLOCK = re.compile(
    r"^block$|statement_block|compound_statement|^for_|for_statement|foreach|^if_|^while_|match_arm|switch|case_"
    r"|catch_|^communication_case|^try_with|using_statement|_clause_with"
)
_COMPREHENSION = re.compile(r"comprehension|generator_expression")

FUNCTION_SCOPED = {"python", "ruby", "php", "shellscript", "bash"}
"""Languages in which a block is no scope."""

_VAR = {"javascript", "javascriptreact", "typescript", "typescriptreact", "tsx", "jsx"}


@dataclass(frozen=True)
class Scope:
    """The bytes ``start`` to ``end`` of a tree, less the ``holes``, which do not see what is defined here."""

    start: int
    end: int
    kind: str
    holes: tuple[tuple[int, int], ...] = ()

    def sees(self, start: int, end: int) -> bool:
        """Whether these bytes are within it."""
        return self.start <= start and end <= self.end and not any(low <= start < high for low, high in self.holes)


def scopes(node: Node, language: str, *, defines: bool = False, unseen: bool = False) -> Iterator[Scope]:
    """What is around a name, from the inside out; for a name that is being defined, only what may hold it. With
    ``unseen`` also what the name looks past, as a method does past its class.
    """
    at = (node.start_byte, node.end_byte)
    inner, parent = node, node.parent
    hoisted = False
    while parent is not None and parent.parent is not None:
        hoisted |= language in _VAR and parent.type == "variable_declaration"
        scope = _scope(parent, inner, node, language)
        inner, parent = parent, parent.parent
        if scope is None or not (unseen or scope.sees(*at)):
            continue
        if not (defines and hoisted and scope.kind == "block"):
            yield scope
    root = parent or inner
    yield Scope(root.start_byte, root.end_byte, "module", tuple(_hidden_from_outside(root, language)))


def _scope(node: Node, inner: Node, name: Node, language: str) -> Scope | None:
    """The scope that ``node`` is for ``name`` somewhere in it; ``inner`` is the child on the way there."""
    start, end = node.start_byte, node.end_byte
    if _COMPREHENSION.search(node.type):
        first = next((child for child in node.children if child.type == "for_in_clause"), None)
        right = first.child_by_field_name("right") if first is not None else None
        return Scope(start, end, "comprehension", (_span(right),) if right is not None else ())
    if _FUNCTION.search(node.type):
        if is_own_name(inner, name, node):
            return None
        return Scope(start, end, "function", tuple(_looking_out(node, language)))
    if language == "ruby" and node.type in ("block", "do_block") and node.child_by_field_name("parameters"):
        return Scope(start, end, "ruby block")
    if _CLASS.search(node.type) and not is_own_name(inner, name, node):
        return Scope(start, end, "class", tuple(_hidden_from_outside(node, language)))
    if language not in FUNCTION_SCOPED and _BLOCK.search(node.type):
        parent = node.parent
        if parent is not None and _FUNCTION.search(parent.type):
            return None  # parameters and the body's own names are one scope
        return Scope(start, end, "block")
    return None


def is_own_name(inner: Node, name: Node, definition: Node) -> bool:
    """Whether a function or class is called ``name``, which is in its child ``inner``."""
    if definition.child_by_field_name("name") == inner:
        return inner == name
    declarator = definition.child_by_field_name("declarator")
    while declarator is not None and declarator != name:
        if "function_declarator" not in declarator.type and "pointer" not in declarator.type:
            return False
        declarator = declarator.child_by_field_name("declarator")
    return declarator == name


def _looking_out(function: Node, language: str) -> Iterator[tuple[int, int]]:
    """Default values and annotations of Python are read where the function stands."""
    if language != "python":
        return
    if returned := function.child_by_field_name("return_type"):
        yield _span(returned)
    parameters = function.child_by_field_name("parameters")
    for parameter in parameters.children if parameters is not None else ():
        for field in ("value", "type"):
            if part := parameter.child_by_field_name(field):
                yield _span(part)


def _hidden_from_outside(node: Node, language: str) -> Iterator[tuple[int, int]]:
    """Methods do not see the names of a class in Python, nor anything around them in Ruby."""
    is_class = node.type in ("class_definition", "class_declaration", "class_body")
    if not (language == "ruby" or (language == "python" and is_class)):
        return
    pending = [*node.children]
    while pending:
        child = pending.pop()
        if language == "python" and (_FUNCTION.search(child.type) or _COMPREHENSION.search(child.type)):
            body = child.child_by_field_name("body")
            yield _span(body if body is not None and _FUNCTION.search(child.type) else child)
        elif language == "ruby" and child.type in ("method", "singleton_method"):
            body = child.child_by_field_name("name")
            yield (body.end_byte if body is not None else child.start_byte, child.end_byte)
        else:
            pending.extend(child.children)


def _span(node: Node) -> tuple[int, int]:
    return node.start_byte, node.end_byte
