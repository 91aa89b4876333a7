import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inference.protocol import WorkerState
from lsp_server.features import status
from lsp_server.features.status import STATES
from tests.support.editor import editor
from tests.support.wire import Wire

SCHEMA = json.loads((Path(__file__).parents[3] / "lsp_server/features/notifications.schema.json").read_text())


SWITCHED_OFF = {"settings": {"lacuna": {"enabled": False}}}


def validate(status: Any) -> None:
    Draft202012Validator({**SCHEMA, "$ref": "#/$defs/lacuna~1status"}).validate(status)


def as_dict(params: Any) -> Any:
    if hasattr(params, "_asdict"):
        return {name: as_dict(value) for name, value in params._asdict().items()}
    return params


def test_the_schema_is_a_schema_and_knows_every_state() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["lacuna/status"]["properties"]["state"]["enum"] == list(STATES)
    assert {state.value for state in WorkerState} < set(STATES)


async def test_every_change_of_the_worker_is_told_once() -> None:
    async with editor(state="starting") as one:
        await one.heard("fake/start")
        one.send("fake/state", {"state": "loading", "message": "reading weights"})
        one.send("fake/state", {"state": "loading", "message": "reading weights"})
        one.send("fake/state", {"state": "ready", "message": ""})
        told = [as_dict(await one.heard("lacuna/status")) for _ in range(2)]
        assert [(status["state"], status["message"]) for status in told] == [
            ("loading", "reading weights"),
            ("ready", ""),
        ]
        for status in told:
            validate(status)


async def test_an_excluded_document_is_told_and_taken_back() -> None:
    async with editor() as one:
        one.open("x = ", uri="file:///a.pem", language_id="plaintext")
        await one.complete(0, 4, uri="file:///a.pem")
        status = as_dict(await one.heard("lacuna/status"))
        validate(status)
        assert status["inactive"]["uri"] == "file:///a.pem"
        validate(await one.command("lacuna.status"))


async def test_the_worker_can_be_restarted() -> None:
    async with editor(state="error") as one:
        await one.heard("fake/start")
        status = await one.command("lacuna.restartWorker")
        await one.heard("fake/start")
        validate(status)
        assert status["state"] == "ready"


async def test_a_restart_that_fails_says_why() -> None:
    async with editor(stuck=True) as one:
        status = await one.command("lacuna.restartWorker")
        validate(status)
        assert (status["state"], status["message"]) == ("error", "the old worker does not stop")


@pytest.mark.parametrize("arguments", [(), ({},), (1, 2)])
async def test_the_status_can_be_asked_for(arguments: tuple[object, ...]) -> None:
    async with editor() as one:
        status = await one.command("lacuna.status", *arguments)
        validate(status)
        assert status["state"] == "ready"


async def test_a_state_of_its_own_for_what_is_excluded_until_another_document_is_asked_for() -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("KEY=", "file:///project/.env", "shellscript")
    wire.open("x = \n")
    for turn in range(2):
        assert await wire.complete(0, 4, "file:///project/.env") == []
        told = wire.named("lacuna/status")[-1]
        validate(told)
        assert (told["state"], told["message"]) == ("excluded", told["inactive"]["reason"])
        if turn == 0:
            assert len(await wire.complete(0, 4)) == 1
        else:
            wire.send("textDocument/didClose", {"textDocument": {"uri": "file:///project/.env"}})
        told = wire.named("lacuna/status")[-1]
        assert told["state"] == "ready"
        assert "inactive" not in told


async def test_a_setting_that_excludes_no_more_is_told() -> None:
    wire = Wire()
    await wire.start(initializationOptions={"excludedFiles": ["a.py"]})
    wire.open("x = \n")
    await wire.complete(0, 4)
    assert wire.named("lacuna/status")[-1]["state"] == "excluded"
    wire.send("workspace/didChangeConfiguration", {"settings": {"lacuna": {"excludedFiles": []}}})
    await wire.settle()
    assert wire.named("lacuna/status")[-1]["state"] == "ready"


async def test_the_latency_is_there_but_no_reason_for_a_message() -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("x = \n")
    assert "latencyMs" not in (await wire.command("lacuna.status"))["result"]
    for _ in range(3):
        await wire.complete(0, 4)
    assert len(wire.named("lacuna/status")) == 1
    asked = (await wire.command("lacuna.status"))["result"]
    validate(asked)
    assert 0 < asked["latencyMs"] < 5000
    assert asked["model"] == "fake"


async def test_busy_is_said_of_a_wait_that_is_long_enough_to_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "BUSY_AFTER_S", 0.02)
    wire = Wire()
    await wire.start()
    one = status.Status(wire.server, wire.session)
    one.health_changed(wire.client.health)
    wire.told.clear()
    with one.busy():
        await wire.settle()
    await asyncio.sleep(0.05)
    assert wire.told == [], "a short wait is not told"
    with one.busy():
        with one.busy():
            await wire.until(lambda: wire.named("lacuna/status"))
        assert one.current()["state"] == "busy", "somebody waits still"
    states = [told["state"] for told in wire.named("lacuna/status")]
    assert states == ["busy", "ready"]
    validate(wire.named("lacuna/status")[0])
    with contextlib.suppress(ValueError), one.busy():
        await asyncio.sleep(0.05)
        raise ValueError
    assert one.current()["state"] == "ready"


@pytest.mark.parametrize("ask", ["suggestion", "edit"])
async def test_whoever_waits_for_the_model_is_told_that_it_is_busy(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "BUSY_AFTER_S", 0.0)
    wire = Wire(fills=["return 1"], hold=True)
    await wire.start()
    wire.open("def f():\n    pass\n")
    place = {"uri": "file:///project/a.py", "position": {"line": 1, "character": 4}, "preview": True}
    waiting = asyncio.create_task(
        wire.complete(1, 8) if ask == "suggestion" else wire.command("lacuna.fillGap", place)  # type: ignore[arg-type]
    )
    await wire.until(lambda: wire.named("lacuna/status")[-1]["state"] == "busy")
    wire.client.gate.release()
    await waiting
    assert [told["state"] for told in wire.named("lacuna/status")] == ["ready", "busy", "ready"]
    for told in wire.named("lacuna/status"):
        validate(told)


async def test_off_is_what_the_user_switched_off() -> None:
    wire = Wire()
    await wire.start(initializationOptions={"disabledLanguages": ["markdown"]})
    wire.open("# ", "file:///project/a.md", "markdown")
    await wire.complete(0, 2, "file:///project/a.md")
    for switch in (lambda: wire.send("workspace/didChangeConfiguration", SWITCHED_OFF), lambda: None):
        told = wire.named("lacuna/status")[-1]
        validate(told)
        assert told["state"] == "off"
        assert "switched off" in told["message"]
        switch()
        await wire.settle()


@pytest.mark.parametrize(
    ("worker", "state"),
    [("ready", "busy"), ("loading", "loading"), ("starting", "starting"), ("stopped", "stopped"), ("error", "error")],
)
async def test_busy_hides_no_trouble(worker: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "BUSY_AFTER_S", 0.0)
    wire = Wire(state=worker)
    await wire.start()
    one = status.Status(wire.server, wire.session)
    one.health_changed(wire.client.health)
    with one.busy():
        await asyncio.sleep(0.01)
        assert one.current()["state"] == state


async def test_nothing_is_told_before_initialized() -> None:
    wire = Wire()
    await wire.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
    wire.send("workspace/didChangeConfiguration", {"settings": {"lacuna": {"enabled": False}}})
    await wire.settle()
    assert wire.named("lacuna/status") == []
