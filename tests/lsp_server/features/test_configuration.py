"""Settings reload live, from editors that answer, from editors that push, and from those that do neither."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lsp_server.options import Options
from tests.support.wire import Wire

SCHEMA = json.loads((Path(__file__).parents[3] / "lsp_server/features/notifications.schema.json").read_text())
PULLS = {"workspace": {"configuration": True}}
BOTH = {"workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}}
CHANGED = "workspace/didChangeConfiguration"


def editor_says(wire: Wire, section: Any) -> None:
    wire.answers["workspace/configuration"] = lambda _: [section]


def warnings(wire: Wire) -> list[str]:
    return [message["message"] for message in wire.named("window/showMessage")]


def check(status: dict[str, Any]) -> dict[str, Any]:
    validator = Draft202012Validator({**SCHEMA, "$ref": "#/$defs/lacuna~1status"})
    validator.validate(status)
    return status


async def test_the_configuration_is_asked_for_at_the_start_and_goes_over_the_start_s_options() -> None:
    wire = Wire()
    editor_says(wire, {"debounceMs": 0, "trace": {"server": "off"}})
    await wire.start(PULLS, initializationOptions={"candidates": 2, "debounceMs": 99})
    await wire.settle()
    assert wire.session.options == Options(candidates=2, debounce_ms=0)
    assert wire.named("workspace/configuration") == [{"items": [{"section": "lacuna"}]}]
    assert warnings(wire) == []


async def test_a_change_that_carries_nothing_is_asked_for() -> None:
    wire = Wire()
    editor_says(wire, {})
    await wire.start(PULLS)
    editor_says(wire, {"candidates": 3})
    wire.send(CHANGED, {"settings": None})
    await wire.settle()
    assert wire.session.options == Options(candidates=3)


@pytest.mark.parametrize("capabilities", [{}, PULLS])
async def test_a_change_that_carries_settings_is_taken(capabilities: dict[str, Any]) -> None:
    wire = Wire()
    editor_says(wire, None)
    await wire.start(capabilities)
    wire.send(CHANGED, {"settings": {"lacuna": {"candidates": 3, "disabledLanguages": ["go"]}, "other": {"a": 1}}})
    await wire.settle()
    assert wire.session.options == Options(candidates=3, disabled_languages=("go",))


@pytest.mark.parametrize("settings", [None, {}, [], "", {"other": {"candidates": 3}}])
async def test_a_change_that_says_nothing_of_ours_changes_nothing(settings: Any) -> None:
    wire = Wire()
    await wire.start(initializationOptions={"candidates": 2})
    wire.send(CHANGED, {"settings": settings})
    await wire.settle()
    assert wire.session.options == Options(candidates=2)
    assert warnings(wire) == []


async def test_a_late_answer_does_not_overtake_what_was_sent_meanwhile() -> None:
    wire = Wire()
    await wire.start(PULLS)
    (asked,) = await wire.until(lambda: [one for one in wire.told if one.get("method") == "workspace/configuration"])
    wire.send(CHANGED, {"settings": {"lacuna": {"candidates": 3}}})
    await wire.settle()
    wire.raw({"id": asked["id"], "result": [{"candidates": 7}]})
    await wire.settle()
    assert wire.session.options == Options(candidates=3)


async def test_each_bad_setting_is_told_once() -> None:
    wire = Wire()
    editor_says(wire, {"debounceMs": "soon", "url": "http://elsewhere", "model": "/tmp/x"})
    await wire.start(PULLS)
    await wire.until(lambda: len(warnings(wire)) == 3)
    for _ in range(2):
        wire.send(CHANGED, {"settings": None})
    await wire.settle()
    assert len(warnings(wire)) == 3
    assert wire.session.options == Options()
    editor_says(wire, {"debounceMs": "later"})
    wire.send(CHANGED, {})
    await wire.settle()
    assert len(warnings(wire)) == 3, "it is still wrong in the same way"


def refuse(_: Any) -> Any:
    raise ValueError("no such thing")


@pytest.mark.parametrize("answer", [refuse, lambda _: None, lambda _: [], lambda _: [None], lambda _: [[1]]])
async def test_an_editor_that_answers_badly_troubles_nobody(answer: Callable[[Any], Any]) -> None:
    wire = Wire(fills=["1"])
    wire.answers["workspace/configuration"] = answer
    wire.answers["client/registerCapability"] = refuse
    await wire.start(BOTH, initializationOptions={"candidates": 2})
    await wire.settle()
    assert wire.session.options == Options(candidates=2)
    wire.open("x = \n")
    assert len(await wire.complete(0, 4)) == 1


async def test_changes_are_registered_for_where_the_editor_can() -> None:
    wire = Wire()
    wire.answers["client/registerCapability"] = lambda _: None
    await wire.start(BOTH)
    (wish,) = await wire.until(lambda: wire.named("client/registerCapability"))
    (registration,) = wish["registrations"]
    assert registration["method"] == CHANGED
    assert registration["registerOptions"] == {"section": "lacuna"}
    plain = Wire()
    await plain.start()
    await plain.settle()
    assert not [one for one in plain.told if "id" in one], "nothing is asked of an editor that offers nothing"


async def test_a_toggle_holds_at_once_and_survives_a_reload() -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("x = \n")
    status = check((await wire.command("lacuna.toggle"))["result"])
    assert status["state"] == "off"
    assert wire.named("lacuna/status")[-1]["state"] == "off"
    assert await wire.complete(0, 4) == []
    wire.send(CHANGED, {"settings": {"lacuna": {"enabled": True, "candidates": 2}}})
    await wire.settle()
    assert await wire.complete(0, 4) == []
    assert wire.session.options.candidates == 2
    assert check((await wire.command("lacuna.toggle"))["result"])["state"] == "ready"
    assert len(await wire.complete(0, 4)) == 1
    assert "inactive" not in wire.named("lacuna/status")[-1]


async def test_one_language_can_be_toggled() -> None:
    wire = Wire(fills=["1"])
    await wire.start(initializationOptions={"disabledLanguages": ["go"]})
    wire.open("x = \n")
    wire.open("x = \n", "file:///project/a.rb", "ruby")
    await wire.command("lacuna.toggle", "python")
    assert wire.named("lacuna/status")[-1]["state"] == "ready", "no document of the language was asked for"
    assert await wire.complete(0, 4) == []
    off = check(wire.named("lacuna/status")[-1])
    assert (off["state"], off["inactive"]["uri"]) == ("off", "file:///project/a.py")
    assert len(await wire.complete(0, 4, "file:///project/a.rb")) == 1
    assert wire.named("lacuna/status")[-1]["state"] == "ready"
    await wire.command("lacuna.toggle", {"language": "python", "enabled": True})
    await wire.command("lacuna.toggle", {"language": "go", "enabled": True})
    assert wire.session.options.disabled_languages == ()
    assert len(await wire.complete(0, 4)) == 1


async def test_a_snooze_says_until_when_and_ends() -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("x = \n")
    status = check((await wire.command("lacuna.snooze", {"minutes": 5}))["result"])
    assert status["state"] == "off"
    assert "snoozed until" in status["message"]
    assert status["snoozedUntil"].endswith("+00:00")
    assert await wire.complete(0, 4) == []
    assert check((await wire.command("lacuna.snooze", {"minutes": 0}))["result"])["state"] == "ready"
    assert (await wire.command("lacuna.snooze", {"minutes": 0.002}))["result"]["state"] == "off"
    await wire.until(lambda: wire.named("lacuna/status")[-1]["state"] == "ready")
    assert len(await wire.complete(0, 4)) == 1
    assert (await wire.command("lacuna.snooze"))["result"]["state"] == "off"
    assert (await wire.command("lacuna.toggle", {"enabled": True}))["result"]["state"] == "ready"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[("lacuna.toggle", one) for one in [(1,), ({"enabled": "no"},), ({"a": 1},), ("python", "go")]],
        *[("lacuna.snooze", one) for one in [(30,), ({"minutes": -1},), ({"minutes": True},), ({"minutes": "5"},)]],
    ],
)
async def test_wrong_arguments_are_refused_and_change_nothing(name: str, arguments: tuple[Any, ...]) -> None:
    wire = Wire()
    await wire.start()
    assert name in (await wire.command(name, *arguments))["error"]["message"]
    assert wire.session.options == Options()
