"""What an identifier is where it stands: a name that is looked up, one that is defined, a member, or only a label.

No language server for the language: only what the tree shows plainly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from lsp_server.next_edit.scopes import Scope, is_own_name, scopes
from lsp_server.positions import utf8
from lsp_server.syntax.trees import SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST_MATCHES = 500
"""A name that stands in a file more often is none that is renamed by hand."""

_MEMBER = re.compile(
    r"^attribute$|member_|field_expression|field_access|selector|_index_expression|method_invocation|scoped_|qualified_"
    r"|^call$|method_reference|nested_"
)
_MEMBER_FIELDS = ("attribute", "property", "field", "method", "name")
_LABEL_TYPES = re.compile(r"property_identifier$|field_identifier$|statement_identifier|label|namespace_identifier")
_FIELD = ("public_field_definition", "field_definition")
_PATTERN = re.compile(
    r"pattern|^parenthesized|expression_list|variable_list|identifier_list|^tuple$|^list$|as_pattern_target|^rest_"
    r"|left_assignment_list|splat|(init|pointer|reference|array)_declarator|^dotted_name$|^spread_"
)
_TARGETS = {
    "assignment": ("left",),
    "named_expression": ("name",),
    "for_statement": ("left",),
    "for_in_clause": ("left",),
    "as_pattern": ("alias",),
    "aliased_import": ("alias",),
    "import_statement": ("name",),
    "import_from_statement": ("name",),
    "variable_declarator": ("name",),
    "assignment_pattern": ("left",),
    "object_assignment_pattern": ("left",),
    "arrow_function": ("parameter",),
    "lambda_expression": ("parameters",),
    "catch_clause": ("parameter",),
    "for_in_statement": ("left",),
    "import_specifier": ("alias", "name"),
    "import_clause": ("",),
    "namespace_import": ("",),
    "short_var_declaration": ("left",),
    "range_clause": ("left",),
    "var_spec": ("name",),
    "const_spec": ("name",),
    "type_spec": ("name",),
    "let_declaration": ("pattern",),
    "let_condition": ("pattern",),
    "match_arm": ("pattern",),
    "for_expression": ("pattern",),
    "const_item": ("name",),
    "static_item": ("name",),
    "use_as_clause": ("alias",),
    "use_list": ("",),
    "closure_parameters": ("",),
    "enhanced_for_statement": ("name",),
    "foreach_statement": ("left",),
    "catch_formal_parameter": ("name",),
    "inferred_parameters": ("",),
    "instanceof_expression": ("name",),
    "for_numeric_clause": ("name",),
    "for_generic_clause": ("",),
    "variable_declaration": ("name", ""),
    "declaration": ("declarator",),
    "type_definition": ("declarator",),
    "for_range_loop": ("declarator",),
    "receive_statement": ("left",),
    "exception_variable": ("",),
}
"""In which fields a parent introduces names; an empty one stands for no field."""

_READ_FIELDS = ("value", "type", "default_value", "right", "key", "default")

_PARAMETERS = re.compile(r"parameters?$|parameter_list|parameter_declaration|receiver")
_DEFINITION = re.compile(
    r"function(?!_declarator|_type)|^method(_def|_decl|$)|_method|constructor_decl|class(?!_pattern)|struct(?!_expression|_pattern)|interface|enum|trait|impl|type_alias|alias_decl|union"
    r"|_item$|record|^module$"
)
_CALLABLE = re.compile(r"function|method|constructor")


class Kind(Enum):
    """What a spelling is."""

    NAME = "name"
    TYPE = "type"
    METHOD = "method"
    MEMBER = "member"
    KEYWORD = "keyword"
    LABEL = "label"
    SHORT = "shorthand"
    EXPORT = "export"


@dataclass(frozen=True, eq=False)
class Occurrence:
    """An identifier, ``start`` to ``end`` (UTF-8 bytes of the document). ``scope`` is where it is defined, or looked up
    first; a MEMBER is one ``of`` an object, by its text; ``as_parameter`` and ``as_callable`` say what is defined.
    """

    start: int
    end: int
    kind: Kind
    node: Node = field(repr=False)
    scope: Scope = field(repr=False)
    defines: bool = False
    of: str = ""
    as_parameter: bool = False
    as_callable: bool = False
    as_type: bool = False
    climbs: bool = False
    """Python's ``global`` and ``nonlocal``: what the function around it defines is defined further out."""


def occurrences(tree: SyntaxTree, name: str) -> list[Occurrence]:
    """All places of the tree where an identifier is spelt ``name``, in document order; none if they are too many."""
    found = []
    for node in _identifiers(tree, utf8(name)):
        found.append(_occurrence(tree, node))
        if len(found) > _MOST_MATCHES:
            return []
    return found


def field_of(node: Node) -> str:
    """The field of its parent that a node is in; empty if in none."""
    parent = node.parent
    if parent is None:
        return ""
    cursor = parent.walk()
    cursor.goto_first_child_for_byte(node.start_byte)
    while cursor.node != node:
        if not cursor.goto_next_sibling():
            return ""
    return cursor.field_name or ""


def _identifiers(tree: SyntaxTree, name: bytes) -> Iterator[Node]:
    for match in re.finditer(rb"(?<![\w])" + re.escape(name) + rb"(?![\w])", tree.source):
        node = tree.root.descendant_for_byte_range(match.start(), match.end())
        if node is None or (node.start_byte, node.end_byte) != match.span() or node.child_count:
            continue
        if "identifier" in node.type or _names_command(node):
            yield node


def _names_command(node: Node) -> bool:
    """Whether a shell's word is the name of a function or of what is run."""
    parent = node.parent
    return node.type == "word" and parent is not None and parent.type in ("function_definition", "command_name")


def _occurrence(tree: SyntaxTree, node: Node) -> Occurrence:
    language = tree.language.name
    kind = _kind(node)
    of = ""
    if kind is Kind.MEMBER and node.parent is not None:
        of = tree.source[node.parent.start_byte : node.start_byte].decode("utf-8", "replace").strip().rstrip(".>-:?")
    parent = node.parent
    named = parent is not None and _DEFINITION.search(parent.type) and is_own_name(node, node, parent)
    named = named or _declares_function(node)
    parameter = kind in (Kind.NAME, Kind.SHORT) and _is_parameter(node)
    is_field = kind is Kind.LABEL and parent is not None and parent.type in _FIELD and field_of(node) != "value"
    defines = bool(
        is_field or named or parameter or (kind in (Kind.NAME, Kind.SHORT, Kind.TYPE) and _is_target(node, language))
    )
    parent_type = parent.type if parent is not None else ""
    return Occurrence(
        tree.start + node.start_byte,
        tree.start + node.end_byte,
        kind,
        node,
        next(iter(scopes(node, language, defines=defines))),
        defines=defines,
        of=of,
        as_parameter=parameter,
        as_callable=bool(named and (_CALLABLE.search(parent_type) or _declares_function(node))),
        as_type=bool(defines and not parameter and (named or "import" in _statement_type(node))),
        climbs=parent_type in ("global_statement", "nonlocal_statement"),
    )


def _kind(node: Node) -> Kind:
    parent = node.parent
    if parent is None:
        return Kind.NAME
    if node.type in ("shorthand_property_identifier", "shorthand_field_identifier") or (
        parent.type == "shorthand_field_initializer"
    ):
        return Kind.SHORT
    at = field_of(node)
    if parent.type in ("keyword_argument", "argument") and at == "name":
        return Kind.KEYWORD
    if node.type == "shorthand_property_identifier_pattern":
        return Kind.SHORT
    if _MEMBER.search(parent.type) and at in _MEMBER_FIELDS:
        if node.start_byte > parent.start_byte:
            return Kind.MEMBER
        return Kind.METHOD if parent.type in ("method_invocation", "call") else Kind.NAME
    if at in ("path", "scope") and parent.type.startswith(("scoped_", "qualified_")):
        return Kind.TYPE
    if _is_label(node, parent, at):
        return Kind.LABEL
    if parent.type == "export_specifier":
        if at == "alias":
            return Kind.LABEL
        return Kind.NAME if parent.child_by_field_name("alias") else Kind.EXPORT
    return Kind.TYPE if node.type == "type_identifier" else Kind.NAME


def _is_label(node: Node, parent: Node, at: str) -> bool:
    """Whether it only names a part of something else: a key, a field, a module, what an import calls otherwise."""
    if _LABEL_TYPES.search(node.type):
        return True
    if parent.type == "field" and at == "name":  # Lua's table
        return True
    above = parent.parent
    if parent.type == "literal_element" and above is not None and field_of(parent) == "key":
        return True
    if parent.type == "keyword_pattern" and parent.named_children[0] == node:
        return True
    if parent.type == "import_specifier" and at == "name" and parent.child_by_field_name("alias"):
        return True
    if parent.type == "use_as_clause" and at == "path":
        return True
    if parent.type == "dotted_name" and above is not None:
        if "import" not in above.type and parent.named_children[0] == node:
            return False
        return bool(
            parent.named_children[0] != node or above.type == "aliased_import" or field_of(parent) == "module_name"
        )
    return False


def _is_parameter(node: Node) -> bool:
    inner, parent = node, node.parent
    for _ in range(6):
        if parent is None:
            return False
        at = field_of(inner)
        if at in _READ_FIELDS and parent.type != "pair_pattern":
            return False
        if parent.type == "typed_parameter" and at:  # of Python, whose name has no field
            return False
        if _PARAMETERS.search(parent.type) and not ("type" in parent.type and "typed" not in parent.type):
            return True
        if parent.type in ("arrow_function", "lambda_expression"):
            return at in ("parameter", "parameters")
        if not _PATTERN.search(parent.type):
            return False
        inner, parent = parent, parent.parent
    return False


def _is_target(node: Node, language: str) -> bool:
    if language == "rust" and node.type == "identifier" and node.text and node.text[:1].isupper():
        parent = node.parent
        return parent is not None and parent.type in ("const_item", "static_item", "use_list")
    inner, parent = node, node.parent
    for _ in range(6):
        if parent is None:
            return False
        at = field_of(inner)
        if parent.type == "case_pattern":
            return inner.type != "dotted_name" or not any(child.type == "." for child in inner.children)
        if parent.type == "class_pattern":
            return False
        if parent.type == "tuple_struct_pattern" and at == "type":
            return False
        if parent.type == "assignment_statement":  # of Lua; others have no list of names there
            above = parent.parent
            return inner.type == "variable_list" and above is not None and above.type == "variable_declaration"
        if parent.type in _TARGETS:
            return at in _TARGETS[parent.type]
        if (at in _READ_FIELDS and parent.type != "pair_pattern") or not _PATTERN.search(parent.type):
            return False
        inner, parent = parent, parent.parent
    return False


def _declares_function(node: Node) -> bool:
    """C's way: the name is inside declarators."""
    inner = node.parent
    if inner is None or inner.type != "function_declarator" or field_of(node) != "declarator":
        return False
    while inner.parent is not None and inner.parent.type != "compound_statement":
        inner = inner.parent
    return inner.parent is None  # in a body it is a call, or a variable, that the grammar takes for one


def _statement_type(node: Node) -> str:
    types, parent = "", node.parent
    for _ in range(4):
        if parent is None:
            break
        types, parent = f"{types} {parent.type}", parent.parent
    return types
