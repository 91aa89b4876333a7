"""The places that still have the old name of what the user renamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsp_server.next_edit.change import Rename
from lsp_server.next_edit.names import Kind, Occurrence, occurrences
from lsp_server.next_edit.scopes import FUNCTION_SCOPED, Scope, scopes
from lsp_server.syntax.trees import SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_ANYWHERE = {"javascript", "javascriptreact", "typescript", "typescriptreact", "tsx", *FUNCTION_SCOPED}
"""Languages in which a name may stand above its definition in the same scope."""

_SELF = {"self", "cls", "this", "$this"}
_STATEMENT = {"let_declaration", "short_var_declaration", "declaration", "variable_declaration", "var_declaration"}
_STATEMENT |= {"local_variable_declaration", "lexical_declaration", "const_declaration", "let_condition"}


@dataclass(frozen=True)
class Place:
    """Replace the UTF-8 bytes ``start`` to ``end`` of the document with ``text``."""

    start: int
    end: int
    text: str


def renamed(tree: SyntaxTree, rename: Rename, is_touched: Callable[[int], bool]) -> list[Place]:
    """Where the old name still means what was renamed; ``is_touched`` tells of a byte whether its line was edited.

    Nothing where that is not plain: the old name has a definition of its own beside the renamed one, or the new name
    was in use.
    """
    old, new = occurrences(tree, rename.old), occurrences(tree, rename.new)
    touched = [one for one in new if is_touched(one.start)]
    untouched = [one for one in new if not is_touched(one.start)]
    if not touched or not old:
        return []
    found = _meant(tree, old, touched, untouched)
    return [Place(one.start, one.end, _text(one, rename)) for one in sorted(found, key=lambda one: one.start)]


def _meant(
    tree: SyntaxTree, old: list[Occurrence], touched: list[Occurrence], untouched: list[Occurrence]
) -> list[Occurrence]:
    climbing = [one.scope for one in (*old, *touched, *untouched) if one.climbs]
    origins = [one for one in touched if one.defines and one.scope not in climbing]
    if not origins:
        return _as_twice(tree, old, touched, untouched)
    origin = origins[0]
    if any(one.scope != origin.scope for one in origins):
        return []  # two things were renamed at once
    if _is_method(origin):
        return _calls_of_method(tree, old, origin)
    return _uses(tree, old, untouched, origin, climbing)


def _uses(
    tree: SyntaxTree, old: list[Occurrence], untouched: list[Occurrence], origin: Occurrence, climbing: list[Scope]
) -> list[Occurrence]:
    language = tree.language.name
    inner = [one for one in old if one.defines and one.scope not in climbing and _within(one, origin.scope, tree)]
    same_variable = language == "python" and origin.as_parameter
    if not same_variable and any(one.scope == origin.scope for one in inner):
        return []  # the old name is still there, by its own right
    if language == "ruby":  # what a block assigns is the method's, if the method knows it
        inner = [one for one in inner if one.as_parameter or one.scope.kind != "ruby block"]
    shadows = [one.scope for one in inner if one.scope != origin.scope]
    after = _end_of_statement(tree, origin)
    found = [
        one
        for one in old
        if _could_be(one, origin)
        and _within(one, origin.scope, tree)
        and one.start >= after
        and not any(_within(one, scope, tree) for scope in shadows)
    ]
    if _captured(tree, found, untouched, origin):
        return []
    if origin.scope.kind == "class" and not origin.as_type:
        around = _surrounding(tree, origin, "class")
        found += [one for one in old if one.kind is Kind.MEMBER and _is_own(tree, one, around)]
    if origin.as_parameter:
        found += [one for one in old if one.kind is Kind.KEYWORD and _names_argument(tree, one, origin)]
    return found


def _could_be(one: Occurrence, origin: Occurrence) -> bool:
    """Whether a spelling is looked up at all, and where such things as the renamed one are."""
    if origin.kind is Kind.LABEL:
        return False  # a field, which stands behind its object
    if one.kind is Kind.TYPE:
        return origin.as_type
    if one.kind is Kind.METHOD:
        return origin.as_callable
    return one.kind in (Kind.NAME, Kind.SHORT, Kind.EXPORT)


def _captured(tree: SyntaxTree, found: list[Occurrence], untouched: list[Occurrence], origin: Occurrence) -> bool:
    """Whether the new name already means something where it would be written, or where it is defined now."""
    taken = [one for one in untouched if one.kind in (Kind.NAME, Kind.SHORT, Kind.TYPE, Kind.EXPORT)]
    inner = [one.scope for one in taken if one.defines and one.scope != origin.scope]
    if any(_within(one, scope, tree) for one in found for scope in inner if _inside(scope, origin.scope)):
        return True
    return any(
        _within(one, origin.scope, tree) and not any(_within(one, scope, tree) for scope in inner)
        for one in taken
        if not _is_renamed_already(one, origin)
    )


def _is_renamed_already(one: Occurrence, origin: Occurrence) -> bool:
    return one.defines and one.scope != origin.scope


def _as_twice(
    tree: SyntaxTree, old: list[Occurrence], touched: list[Occurrence], untouched: list[Occurrence]
) -> list[Occurrence]:
    """Uses changed twice or more, and no definition: the third is offered in the same function or class."""
    if len(touched) < 2:
        return []  # as likely another thing is meant there
    first = touched[0]
    if first.kind is Kind.MEMBER:
        if any(one.kind is not Kind.MEMBER or one.of != first.of for one in touched):
            return []
        around = _surrounding(tree, first, "class" if first.of in _SELF else "function")
        return [one for one in old if one.kind is Kind.MEMBER and one.of == first.of and _within(one, around, tree)]
    around = _surrounding(tree, first, "function")
    if first.kind is not Kind.NAME or any(one.defines and _within(one, around, tree) for one in old):
        return []
    return [one for one in old if one.kind is Kind.NAME and _within(one, around, tree)]


def _surrounding(tree: SyntaxTree, one: Occurrence, kind: str) -> Scope:
    around = [*scopes(one.node, tree.language.name, unseen=True)]
    found = next((scope for scope in around if scope.kind == kind), around[-1])
    return Scope(found.start, found.end, found.kind)


def _is_own(tree: SyntaxTree, one: Occurrence, around: Scope) -> bool:
    """Whether a member is of the object itself in a class: in a body nested in a method, ``self`` is another's."""
    if one.of not in _SELF or _surrounding(tree, one, "class") != around:
        return False
    return tree.language.name != "python" or _surrounding(tree, one, "function").start > around.start


def _is_method(origin: Occurrence) -> bool:
    return origin.as_callable and (origin.scope.kind == "class" or origin.kind is Kind.LABEL)


def _calls_of_method(tree: SyntaxTree, old: list[Occurrence], origin: Occurrence) -> list[Occurrence]:
    """Of the object itself, in its class; of other objects nobody knows what they are."""
    if any(one.defines and one.scope == origin.scope for one in old):
        return []  # another one of that name, with other parameters
    around = _surrounding(tree, origin, "class")
    if around.kind != "class":
        return []
    bare = tree.language.name in ("java", "csharp", "ruby", "cpp")
    nested = [one.scope for one in old if one.defines and one.as_callable and one.scope != origin.scope]
    return [
        one
        for one in old
        if _within(one, around, tree)
        and not any(_within(one, scope, tree) and _inside(scope, around) for scope in nested)
        and ((one.kind is Kind.MEMBER and _is_own(tree, one, around)) or (bare and one.kind is Kind.METHOD))
    ]


def _names_argument(tree: SyntaxTree, keyword: Occurrence, origin: Occurrence) -> bool:
    """Whether a keyword argument belongs to a call of the function whose parameter was renamed."""
    function = origin.node.parent
    while function is not None and (function.start_byte, function.end_byte) != (origin.scope.start, origin.scope.end):
        function = function.parent
    name = function.child_by_field_name("name") if function is not None else None
    call = keyword.node.parent
    while call is not None and "call" not in call.type and "invocation" not in call.type:
        call = call.parent
    called = call.child_by_field_name("function") if call is not None else None
    if function is None or name is None or called is None or not name.text or not called.text:
        return False
    owner = next(iter(scopes(name, tree.language.name, defines=True)))
    if owner.kind != "class":
        return called.text == name.text and owner.sees(called.start_byte, called.end_byte)
    wanted = [one.encode() + b"." + name.text for one in ("self", "cls", "this")]
    within = owner.start <= called.start_byte and called.end_byte <= owner.end
    class_name = _class_name(name.parent)
    if name.text == b"__init__" and class_name:
        return called.text == class_name or (within and called.text == b"cls")
    return (within and called.text in wanted) or (bool(class_name) and called.text == class_name + b"." + name.text)


def _class_name(node: Node | None) -> bytes:
    while node is not None and node.type not in ("class_definition", "class_declaration"):
        node = node.parent
    name = node.child_by_field_name("name") if node is not None else None
    return name.text or b"" if name is not None else b""


def _end_of_statement(tree: SyntaxTree, origin: Occurrence) -> int:
    """From which byte on the new name holds; where the order does not matter, that of the scope."""
    whole = tree.start + origin.scope.start
    free = origin.as_parameter or origin.as_callable or origin.as_type or origin.scope.kind in ("module", "class")
    if free or tree.language.name in _ANYWHERE:
        return whole
    for node in _ancestors(origin):
        if node.type in _STATEMENT:
            return tree.start + node.end_byte
    return origin.end


def _ancestors(origin: Occurrence) -> Iterator[Node]:
    node = origin.node.parent
    for _ in range(6):
        if node is None:
            return
        yield node
        node = node.parent


def _text(one: Occurrence, rename: Rename) -> str:
    """The new name; where the old one is also what others see, both."""
    if one.kind is Kind.SHORT and not one.defines:
        return rename.as_property
    return rename.as_export if one.kind is Kind.EXPORT else rename.new


def _within(one: Occurrence, scope: Scope, tree: SyntaxTree) -> bool:
    return scope.sees(one.start - tree.start, one.end - tree.start)


def _inside(scope: Scope, other: Scope) -> bool:
    return other.start <= scope.start and scope.end <= other.end
