"""The settings of one window, all with defaults. Bad input becomes a message and the default, never a failure.

One line adds a setting: its type says what it takes (a ``Literal`` lists the choices), ``setting`` the rest.
``python -m lsp_server.options`` prints ``settings.schema.json`` anew.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

SECTION = "lacuna"
"""The section of ``workspace/configuration``, and the prefix of each name in an editor's settings."""

_MACHINE_ONLY = {"python", "pythonPath", "interpreter", "command", "args", "path", "env", "url", "address", "token"}
_MACHINE_ONLY |= {"model", "modelPath", "adapter", "device", "precision", "trusted"}
_CLIENTS_OWN = {"trace"}
"""What clients keep in the same section for themselves: no business of ours, and no reason for a message."""

T = TypeVar("T")


def setting(default: T, meaning: str, low: float | None = None, high: float | None = None) -> T:
    """A setting: its default, one sentence for whoever edits it, and for numbers the least and the greatest."""
    made: T = field(default=default, metadata={"meaning": meaning, "low": low, "high": high})
    return made


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a window is told in camelCase. Times are milliseconds, lengths characters."""

    enabled: bool = setting(True, "Suggestions at all.")
    debounce_ms: int = setting(25, "Milliseconds to wait at least after a key; none when you ask by hand.", 0, 2000)
    deadline_ms: int = setting(3000, "Milliseconds after which the best fill so far is taken.", 50, 60_000)
    candidates: int = setting(1, "How many alternatives to denoise at once.", 1, 8)
    confidence_floor: float | None = setting(
        None, "Below it nothing is shown; null leaves it to the model's own evaluation.", 0, 1
    )
    prefix_characters: int = setting(4000, "How much text before the gap the model reads.", 0, 200_000)
    suffix_characters: int = setting(1500, "How much text after the gap the model reads.", 0, 200_000)
    context_snippets: int = setting(0, "Characters that other files may add, for models with room.", 0, 200_000)
    disabled_languages: tuple[str, ...] = setting((), "Language ids of the LSP that get no suggestions.")
    excluded_files: tuple[str, ...] = setting((), "More file name patterns that are never read.")
    drafts: bool = setting(False, "Send lacuna/draft after every denoising step.")
    speculate: bool = setting(True, "Compute the likely next answer while a suggestion is read.")
    early_answers: bool = setting(False, "Show the first lines of an answer before the last are done.")
    completion_items: Literal["auto", "on", "off"] = setting(
        "auto", "Suggestions in the completion popup too; auto: where the editor shows no ghost text."
    )
    proposals: bool = setting(True, "Let the model judge texts found around the gap that may stand in it.")
    edit_deadline_ms: int = setting(30_000, "Milliseconds that an edit you asked for may take.", 1000, 600_000)
    next_edit: bool = setting(True, "Propose where else in the file an edit applies.")
    confirm_edits: bool = setting(False, "Have the editor show such an edit before it is made.")


def read_options(
    raw: object, base: Options | None = None, *, source: str = "initializationOptions"
) -> tuple[Options, list[str]]:
    """``base`` with what an editor sent, and one sentence for each thing that is wrong with it."""
    base = base or Options()
    if raw is None or raw == []:  # what an empty table of Lua's becomes
        return base, []
    if not isinstance(raw, dict):
        return base, [f"{source} must be an object, not {type(raw).__name__}; it is ignored."]
    known = _known()
    values: dict[str, Any] = {}
    problems = []
    for name, value in raw.items():
        if name in known:
            python_name, schema = known[name]
            if expected := _mismatch(schema, value):
                problems.append(f"Option {name!r} must be {expected}; it is ignored.")
            else:
                values[python_name] = _frozen(schema, value)
        elif name in _MACHINE_ONLY:
            problems.append(f"Option {name!r} belongs to the machine or the user, not to a workspace; it is ignored.")
        elif name not in _CLIENTS_OWN:
            problems.append(f"Option {str(name)[:60]!r} is not known; it is ignored.")
    return replace(base, **values), problems


def settings_schema() -> dict[str, Any]:
    """The JSON Schema of the settings object, which ``settings.schema.json`` holds for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of Lacuna",
        "description": f"What initializationOptions and the section {SECTION!r} of workspace/configuration may hold.",
        "type": "object",
        "properties": {name: schema for name, (_, schema) in _known().items()},
        "additionalProperties": False,
    }


@cache
def _known() -> dict[str, tuple[str, dict[str, Any]]]:
    """Each setting's name in camelCase: its field's name and the JSON Schema of its value."""
    hints = get_type_hints(Options)
    known = {}
    for one in fields(Options):
        default = list(one.default) if isinstance(one.default, tuple) else one.default
        schema = {"description": one.metadata.get("meaning", ""), **_schema(hints[one.name]), "default": default}
        for key, bound in (("minimum", "low"), ("maximum", "high")):
            if (limit := one.metadata.get(bound)) is not None:
                schema[key] = limit
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), one.name)
        known[camel] = one.name, schema
    return known


def _schema(hint: Any) -> dict[str, Any]:
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if NoneType in get_args(hint):
        (inner,) = (one for one in get_args(hint) if one is not NoneType)
        return {"type": [_schema(inner)["type"], "null"]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": {"type": "string"}}
    return {"type": {bool: "boolean", int: "integer", float: "number", str: "string"}[hint]}


def _mismatch(schema: dict[str, Any], value: object) -> str:
    """What ``value`` should have been; nothing if it is."""
    if "enum" in schema:
        allowed = ", ".join(map(repr, schema["enum"]))
        return "" if isinstance(value, str) and value in schema["enum"] else f"one of {allowed}"
    kind = schema["type"]
    if isinstance(kind, list):
        if value is None:
            return ""
        kind = kind[0]
    match kind:
        case "boolean":
            return "" if isinstance(value, bool) else "true or false"
        case "string":
            return "" if isinstance(value, str) else "a string"
        case "array":
            is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
            return "" if is_list else "a list of strings"
    whole, low, high = kind == "integer", schema["minimum"], schema["maximum"]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and low <= value <= high and (not whole or value == int(value)):  # type: ignore[call-overload]
        return ""
    return f"a {'whole ' if whole else ''}number between {low} and {high}"


def _frozen(schema: dict[str, Any], value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return int(value) if schema.get("type") == "integer" else value


if __name__ == "__main__":
    print(json.dumps(settings_schema(), indent=2))
