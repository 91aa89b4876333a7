"""The arguments of the commands that edit, as ``commands.schema.json`` has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_INSTRUCTION = 4000
"""Characters; whoever has more to say does not mean an edit."""

Position = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class EditArguments:
    """``start`` and ``end`` are ``(line, character)`` in the editor's units, both None for the whole document.

    ``version``: only this one may be edited. ``preview``: return the edit instead of applying it. ``tell``: show on the
    screen why nothing was done.
    """

    uri: str
    start: Position | None = None
    end: Position | None = None
    instruction: str = ""
    strength: float | None = None
    docstring: bool = False
    version: int | None = None
    preview: bool = False
    tell: bool = False


def read_arguments(command: str, needs: str, raw: tuple[Any, ...]) -> EditArguments:
    """Read the one argument of a command, an object with ``uri`` and what it ``needs``: "position", "range" or "".

    Raises ValueError, one sentence that names the command.
    """
    if len(raw) != 1 or not isinstance(raw[0], dict):
        raise ValueError(f"{command} takes one argument: an object with 'uri'{needs and f' and {needs!r}'}")
    given = dict(raw[0])
    try:
        start = end = None
        if needs == "position":
            start = end = _position(given.pop("position"))
        elif needs == "range":
            span = given.pop("range")
            start, end = _position(span["start"]), _position(span["end"])
        arguments = EditArguments(start=start, end=end, **given)
    except KeyError as error:
        raise ValueError(f"{command}: {error} is missing") from None
    except TypeError as error:
        raise ValueError(f"{command}: {str(error).removeprefix('EditArguments.__init__() ')}") from None
    for name, kind in _KINDS.items():
        value = getattr(arguments, name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{command}: {name!r} has the wrong type")
    if arguments.strength is not None and not 0 <= arguments.strength <= 1:
        raise ValueError(f"{command}: 'strength' must be between 0 and 1")
    if len(arguments.instruction) > MAX_INSTRUCTION:
        raise ValueError(f"{command}: 'instruction' is longer than {MAX_INSTRUCTION} characters")
    return arguments


_KINDS: dict[str, Any] = {
    "uri": str,
    "instruction": str,
    "strength": (int, float, type(None)),
    "docstring": bool,
    "version": (int, type(None)),
    "preview": bool,
    "tell": bool,
}


def _position(raw: Any) -> Position:
    line, character = raw["line"], raw["character"]
    if (
        not isinstance(line, int)
        or not isinstance(character, int)
        or isinstance(line, bool)
        or line < 0
        or character < 0
    ):
        raise TypeError("a position has a line and a character, both from 0")
    return line, character
