"""How messages become JSON and how JSON is read: strictly, by the type hints of frozen dataclasses. Knows no message.

Standard library only. A union of dataclasses is told apart on the wire by ``type``, which each names in ``wire_type``.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from reprlib import repr as short  # what a stranger sent may be long: a sentence quotes its beginning
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_NAMES: dict[object, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_T = TypeVar("_T")


class ProtocolError(ValueError):
    """A message does not fit the contract. The text is one sentence for a person and names the field."""


def encode(message: Any) -> Any:
    """Return the JSON form of a message; fields that are None are left out."""
    if is_dataclass(message):
        body = {f.name: encode(value) for f in fields(message) if (value := getattr(message, f.name)) is not None}
        tag = getattr(message, "wire_type", None)
        return {"type": tag} | body if tag else body
    if isinstance(message, tuple):
        return [encode(item) for item in message]
    return message.value if isinstance(message, StrEnum) else message


def decode(kind: type[_T], body: object, *, ignore_unknown: bool = False) -> _T:
    """Read the JSON form of ``kind``. ``ignore_unknown`` is for answers, which a newer side may have extended."""
    message: _T = _decode(kind, body, kind.__name__, ignore_unknown)
    return message


def check_text(**values: str | None) -> None:
    """Raise :class:`ProtocolError` for the field whose value UTF-8 cannot express."""
    for name, value in values.items():
        try:
            (value or "").encode("utf-8")
        except UnicodeEncodeError:
            raise ProtocolError(f"{name!r} holds a lone surrogate, which is not text; send valid Unicode") from None


def check_range(name: str, value: float | None, low: int, high: int) -> None:
    """Raise :class:`ProtocolError` unless ``low <= value <= high``; None is no value."""
    if value is not None and not low <= value <= high:
        raise ProtocolError(f"{name!r} must be between {low} and {high}, not {short(value)}")


def _decode(kind: Any, value: object, name: str, ignore_unknown: bool) -> Any:
    if is_dataclass(kind):
        return _decode_object(kind, value, name, ignore_unknown)
    if get_origin(kind) in (Union, types.UnionType):
        return _decode_union(get_args(kind), value, name, ignore_unknown)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ProtocolError(f"{name!r} must be a list, not {_name_of(value)}")
        return tuple(_decode(get_args(kind)[0], item, name, ignore_unknown) for item in value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if not isinstance(value, str) or value not in list(kind):
            raise ProtocolError(f"{name!r} must be one of {', '.join(kind)}, not {short(value)}")
        return kind(value)
    return _decode_plain(kind, value, name)


def _decode_plain(kind: Any, value: object, name: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ProtocolError(f"{name!r} is too large a number") from None
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)  # JSON has one kind of number: 1.0 is an integer
    if type(value) is not kind:
        raise ProtocolError(f"{name!r} must be {_NAMES[kind]}, not {_name_of(value)}")
    return value


def _decode_union(kinds: Iterable[Any], value: object, name: str, ignore_unknown: bool) -> Any:
    """Read ``X | None``, or one of several dataclasses by its ``type``."""
    tagged = {kind.wire_type: kind for kind in kinds if is_dataclass(kind) and hasattr(kind, "wire_type")}
    if not tagged:
        inner = next(kind for kind in kinds if kind is not type(None))
        return None if value is None else _decode(inner, value, name, ignore_unknown)
    tag = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(tag, str) or tag not in tagged:
        known = " or ".join(map(repr, tagged))
        raise ProtocolError(f"'type' of a segment in {name!r} must be {known}, not {short(tag)}")
    return _decode_object(tagged[tag], {k: v for k, v in value.items() if k != "type"}, name, ignore_unknown)


def _decode_object(kind: Any, body: object, name: str, ignore_unknown: bool) -> Any:
    if not isinstance(body, dict):
        raise ProtocolError(f"{name!r} must be an object, not {_name_of(body)}")
    hints = _hints(kind)
    known = {f.name: hints[f.name] for f in fields(kind)}
    if not ignore_unknown and (unknown := sorted(set(body) - set(known))):
        raise ProtocolError(f"unknown fields in {name!r}: {', '.join(map(short, unknown[:5]))}")
    for f in fields(kind):
        if f.name not in body and f.default is MISSING and f.default_factory is MISSING:
            raise ProtocolError(f"{f.name!r} is missing in {name!r}")
    return kind(**{key: _decode(known[key], body[key], key, ignore_unknown) for key in known if key in body})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _name_of(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
