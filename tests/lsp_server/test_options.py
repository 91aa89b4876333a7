import json
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lsp_server import options as settings
from lsp_server.options import Options, read_options, setting, settings_schema

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "lsp_server/settings.schema.json").read_text(encoding="utf-8"))
PROPERTIES: dict[str, dict[str, Any]] = SCHEMA["properties"]


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def kinds(schema: dict[str, Any]) -> set[str]:
    kind = schema.get("type", [])
    return {kind} if isinstance(kind, str) else set(kind)


def other_than_the_default(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return next(choice for choice in schema["enum"] if choice != schema["default"])
    match schema["type"]:
        case "boolean":
            return not schema["default"]
        case "string":
            return "anything"
        case "array":
            return ["a", "b"]
    return schema["maximum"] if schema["default"] != schema["maximum"] else schema["minimum"]


def test_the_committed_schema_is_that_of_the_options() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert settings_schema() == SCHEMA, "print it anew: python -m lsp_server.options > lsp_server/settings.schema.json"
    assert [snake(name) for name in PROPERTIES] == [field.name for field in fields(Options)]


def test_it_can_be_printed() -> None:
    command = [sys.executable, "-m", "lsp_server.options"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(printed) == SCHEMA


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_setting_says_what_it_means_and_has_a_default_that_fits(name: str) -> None:
    schema = PROPERTIES[name]
    assert schema["description"].endswith("."), f"give {name} a sentence: setting(default, sentence, ...)"
    assert Draft202012Validator(schema).is_valid(schema["default"])
    assert schema["default"] == json.loads(json.dumps(getattr(Options(), snake(name))))
    if {"integer", "number"} & kinds(schema):
        assert schema["minimum"] < schema["maximum"]


def test_nothing_said_means_the_defaults() -> None:
    assert read_options(None) == (Options(), [])
    assert read_options({}) == (Options(), [])
    assert read_options([]) == (Options(), []), "an empty table of Lua's"


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_option_can_be_set(name: str) -> None:
    value = other_than_the_default(PROPERTIES[name])
    options, problems = read_options({name: value})
    assert problems == []
    expected = tuple(value) if isinstance(value, list) else value
    assert options == Options(**{snake(name): expected})
    assert options != Options()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enabled", "yes"),
        ("enabled", 1),
        ("debounceMs", -1),
        ("debounceMs", 1.5),
        ("debounceMs", True),
        ("debounceMs", None),
        ("candidates", 99),
        ("confidenceFloor", "high"),
        ("confidenceFloor", float("nan")),
        ("disabledLanguages", "python"),
        ("excludedFiles", [1]),
        ("speculate", "always"),
        ("completionItems", "sometimes"),
        ("completionItems", True),
    ],
)
def test_a_bad_value_is_a_message_and_the_default(name: str, value: object) -> None:
    options, problems = read_options({name: value})
    assert options == Options()
    assert len(problems) == 1
    assert repr(name) in problems[0]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(sorted(PROPERTIES)), ANYTHING)
@example("debounceMs", 25.0)
@example("debounceMs", 10**400)
@example("confidenceFloor", 1)
def test_what_the_schema_takes_is_taken_and_nothing_else(name: str, value: object) -> None:
    _, problems = read_options({name: value})
    assert (problems == []) == Draft202012Validator(PROPERTIES[name]).is_valid(value)


def test_a_choice_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Chosen:
        early_answers: Literal["off", "line"] = setting("line", "A choice.")
        greeting: str = setting("", "A word.")

    settings._known.cache_clear()
    monkeypatch.setattr(settings, "Options", Chosen)
    monkeypatch.setattr(
        settings, "get_type_hints", lambda _: {"early_answers": Literal["off", "line"], "greeting": str}
    )
    try:
        assert settings_schema()["properties"]["earlyAnswers"]["enum"] == ["off", "line"]
        assert read_options({"earlyAnswers": "off", "greeting": "hi"}) == (
            Chosen(early_answers="off", greeting="hi"),
            [],
        )
        (problem,) = read_options({"earlyAnswers": "all"})[1]
        assert problem == "Option 'earlyAnswers' must be one of 'off', 'line'; it is ignored."
    finally:
        settings._known.cache_clear()


@pytest.mark.parametrize("name", ["python", "interpreter", "url", "token", "model", "modelPath", "command", "trusted"])
def test_a_workspace_chooses_no_program_and_no_address(name: str) -> None:
    options, problems = read_options({name: "http://elsewhere"})
    assert options == Options()
    assert "machine or the user" in problems[0]


def test_what_clients_keep_in_the_section_for_themselves_is_no_problem() -> None:
    assert read_options({"trace": {"server": "verbose"}}) == (Options(), [])


def test_unknown_names_and_shapes_are_told() -> None:
    assert "not known" in read_options({"debounce": 3})[1][0]
    assert "must be an object" in read_options([1])[1][0]


def test_good_values_survive_bad_neighbours() -> None:
    options, problems = read_options({"candidates": 2, "deadlineMs": "soon"})
    assert options == Options(candidates=2)
    assert len(problems) == 1


def test_a_bad_value_leaves_what_held_before() -> None:
    options, problems = read_options({"candidates": 99, "drafts": True}, Options(candidates=2))
    assert options == Options(candidates=2, drafts=True)
    assert len(problems) == 1
