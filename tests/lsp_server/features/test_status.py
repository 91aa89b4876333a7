import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inference.protocol import WorkerState
from tests.support.editor import editor

SCHEMA = json.loads((Path(__file__).parents[3] / "lsp_server/features/notifications.schema.json").read_text())


def validate(status: Any) -> None:
    Draft202012Validator({**SCHEMA, "$ref": "#/$defs/lacuna~1status"}).validate(status)


def as_dict(params: Any) -> Any:
    if hasattr(params, "_asdict"):
        return {name: as_dict(value) for name, value in params._asdict().items()}
    return params


def test_the_schema_is_a_schema_and_knows_every_state() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["lacuna/status"]["properties"]["state"]["enum"] == [state.value for state in WorkerState]


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
