"""The settings of one window, all with defaults. Bad input becomes a message and the default, never a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

_MACHINE_ONLY = {"python", "interpreter", "url", "address", "token"}
_MACHINE_ONLY |= {"model", "modelPath", "adapter", "device", "precision"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``initializationOptions`` may say, in camelCase.

    Times are milliseconds, lengths characters. ``confidence_floor`` None leaves it to the model's own evaluation.
    ``context_snippets`` is what other open files may add to the prompt.
    """

    enabled: bool = True
    debounce_ms: int = 25
    deadline_ms: int = 3000
    candidates: int = 1
    confidence_floor: float | None = None
    prefix_characters: int = 4000
    suffix_characters: int = 1500
    context_snippets: int = 0
    disabled_languages: tuple[str, ...] = ()
    excluded_files: tuple[str, ...] = ()
    drafts: bool = False


_RANGES: dict[str, tuple[float, float]] = {
    "debounce_ms": (0, 2000),
    "deadline_ms": (50, 60_000),
    "candidates": (1, 8),
    "confidence_floor": (0, 1),
    "prefix_characters": (0, 200_000),
    "suffix_characters": (0, 200_000),
    "context_snippets": (0, 200_000),
}


def read_options(raw: object) -> tuple[Options, list[str]]:
    """Options from ``initializationOptions``, and one sentence for each thing that is wrong with it."""
    if raw is None:
        return Options(), []
    if not isinstance(raw, dict):
        return Options(), [f"initializationOptions must be an object, not {type(raw).__name__}; the defaults hold."]
    known = {_camel(field.name): field for field in fields(Options)}
    values: dict[str, Any] = {}
    problems = []
    for name, value in raw.items():
        if name in _MACHINE_ONLY:
            problems.append(f"Option {name!r} belongs to the machine or the user, not to a workspace; it is ignored.")
        elif name not in known:
            problems.append(f"Option {name!r} is not known; it is ignored.")
        elif problem := _problem(known[name].name, known[name].default, value):
            problems.append(f"Option {name!r} {problem}; the default holds.")
        else:
            values[known[name].name] = tuple(value) if isinstance(value, list) else value
    return replace(Options(), **values), problems


def _problem(name: str, default: object, value: object) -> str:
    if value is None and default is None:
        return ""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "must be true or false"
    if isinstance(default, tuple):
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "" if is_list else "must be a list of strings"
    low, high = _RANGES[name]
    whole = isinstance(default, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        return f"must be a {'whole ' if whole else ''}number between {low} and {high}"
    return ""


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)
