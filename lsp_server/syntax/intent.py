"""Whether an empty place is meant to be empty: what the definition around it, its class and its author's words say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from lsp_server.syntax.hole_marks import MEANT, MEANT_NAME, UNFINISHED
from lsp_server.syntax.trees import SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_MAX_DEPTH = 40
_NEAR = 4000
"""Bytes looked at before a definition, and of a class for its head."""


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set of node types."""
    return frozenset(text.split())


FUNCTIONS = words(
    "function_definition function_declaration generator_function_declaration method_definition method_declaration "
    "function_item local_function_statement method singleton_method"
)
NAMELESS = words(
    "function_expression arrow_function func_literal lambda_expression anonymous_function closure_expression "
    "constructor_declaration accessor_declaration"
)
"""Functions whose body may be empty for good: a callback that does nothing, a constructor that takes its parameters."""

CLASSES = words(
    "class_definition class_declaration abstract_class_declaration class_specifier struct_specifier class impl_item "
    "interface_declaration trait_item trait_declaration record_declaration struct_declaration"
)
_STUB_DECORATOR = re.compile(r"overload|abstract|singledispatch")
_ABSTRACT_BASE = re.compile(r"\b(?:Protocol|ABC|ABCMeta|Interface|TypedDict|NamedTuple)\b")
_DERIVES = re.compile(rb"\bclass\s+\w+\s*(?:\(([^)]*)|<\s*([\w:]+)|:([^{;\n]*)|[^{;\n]{0,200}?\bextends\s+([\w.]+))")
_RESULTS = ("return_type", "result", "returns", "type")
_CONSTRUCTORS = (b"constructor", b"__construct", b"__init__", b"initialize")


def is_meant(tree: SyntaxTree, function: Node, code: bytes = b"") -> bool:
    """Whether the function does nothing on purpose: an overload, an abstract method, a stub, or so its author says."""
    outer = function.parent
    definition = outer if outer is not None and outer.type in ("decorated_definition", "export_statement") else function
    message = code.partition(b"(")[2] or code.partition(b",")[2]
    if (b'"' in message or b"'" in message) and not UNFINISHED.search(message):
        return True
    if name_of(function) == "_":
        return True
    says = [message.decode("utf-8", "replace"), remarks(function), *_comments_above(tree, definition)]
    decorators = [text_of(child) for child in definition.named_children if child.type == "decorator"]
    if any(_STUB_DECORATOR.search(text) for text in decorators):
        return True
    if any(MEANT.search(text) for text in says) or MEANT_NAME.search(name_of(function)):
        return True
    holder = _class_around(definition)
    return holder is not None and _is_abstract(tree, holder)


def _comments_above(tree: SyntaxTree, definition: Node) -> Iterator[str]:
    """The lines of comment that end on the line above a definition, the nearest first."""
    above = tree.source[max(0, definition.start_byte - _NEAR) : definition.start_byte].split(b"\n")[:-1]
    for line in reversed(above):
        if not line.lstrip().startswith((b"#", b"//", b"/*", b"*", b"--")):
            return
        yield line.decode("utf-8", "replace")


def _is_abstract(tree: SyntaxTree, holder: Node) -> bool:
    """Whether a class only says what others have: by its name, its bases, or others in the file that derive from it."""
    head = tree.source[holder.start_byte : holder.end_byte][:_NEAR].split(b"\n", 1)[0].decode("utf-8", "replace")
    name = name_of(holder)
    if holder.type in ("abstract_class_declaration", "interface_declaration", "trait_item", "trait_declaration"):
        return True
    if (
        re.search(r"\babstract\b", head)
        or MEANT_NAME.search(name)
        or _ABSTRACT_BASE.search(head.partition(name)[2] if name else head)
    ):
        return True
    return name.encode() in _bases(tree.source)


@lru_cache(maxsize=2)
def _bases(source: bytes) -> frozenset[bytes]:
    """The names behind ``class A(``, ``class A <``, ``class A :`` and ``extends``: classes that others derive from."""
    heads = (b" ".join(groups) for groups in _DERIVES.findall(source))
    return frozenset(name for head in heads for name in re.findall(rb"\w+", head))


def may_lack_statements(function: Node) -> bool:
    """Whether an empty body can be a hole: it cannot in a constructor, nor where the method only marks its type."""
    name = function.child_by_field_name("name")
    if name is not None and (name.text or b"") in _CONSTRUCTORS:
        return False
    declarator = function.child_by_field_name("declarator")
    if declarator is not None and function.child_by_field_name("type") is None:
        return False  # C++: constructors and destructors have no type
    receiver = function.child_by_field_name("receiver")
    if receiver is None:
        return name is not None or declarator is not None
    return any(child.child_by_field_name("name") for child in receiver.named_children)


def gives_result(tree: SyntaxTree, function: Node) -> bool:
    """Whether a function must return something, as far as its language says; one without types may."""
    if tree.language.name in ("javascript", "php"):
        return True
    declared = next((found for name in _RESULTS if (found := function.child_by_field_name(name))), None)
    return declared is not None and not re.match(r":?\s*(?:void|Promise<void>|Task|unit|\(\))$", text_of(declared))


def is_inner(function: Node) -> bool:
    """Whether a function stands in another, or in an object: closed on its own line, it is there to be passed on."""
    around = function.parent
    for _ in range(_MAX_DEPTH):
        if around is None or around.type in CLASSES:
            return False
        if around.type in FUNCTIONS or around.type in NAMELESS or around.type == "object":
            return True
        around = around.parent
    return False


def _class_around(node: Node) -> Node | None:
    around = node.parent
    for _ in range(_MAX_DEPTH):
        if around is None or around.type in CLASSES:
            return around
        if around.type in FUNCTIONS:
            return None
        around = around.parent
    return None


def remarks(node: Node) -> str:
    """The comments and the docstring directly within a function or its body."""
    body = node.child_by_field_name("body") or node
    children = [*node.named_children, *(body.named_children if body is not node else ())]
    return "\n".join(text_of(child) for child in children if not says_something(child))


def says_something(node: Node) -> bool:
    """Whether a statement is more than a comment or a docstring."""
    if node.type == "expression_statement":
        return any(child.type not in ("string", "concatenated_string") for child in node.named_children)
    return "comment" not in node.type


def name_of(node: Node) -> str:
    """The name that a node declares; empty if none."""
    named = node.child_by_field_name("name")
    declarator = node.child_by_field_name("declarator")
    while named is None and declarator is not None:
        inner = declarator.child_by_field_name("declarator")
        if inner is None:
            named = declarator
        declarator = inner
    return text_of(named) if named is not None else ""


def text_of(node: Node) -> str:
    """A node's source."""
    return (node.text or b"").decode("utf-8", "replace")
