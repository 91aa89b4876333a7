"""Work-done progress while the worker loads, as the LSP orders it: created, begun, reported, ended."""

import asyncio
from typing import Any

import pytest
from lsprotocol import types

from tests.support.editor import LIMIT_S, Editor, editor
from tests.support.wire import Wire


def load(one: Editor, *messages: str, then: str = "ready") -> None:
    for message in messages:
        one.send("fake/state", {"state": "loading", "message": message})
    one.send("fake/state", {"state": then, "message": "no weights" if then == "error" else ""})


async def begun(one: Editor) -> None:
    while not any(one.client.progress_reports.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def reports(one: Editor, progresses: int = 1) -> list[list[Any]]:
    """What was told under each token, once that many progresses have ended."""

    async def ended() -> list[list[Any]]:
        while True:
            told = list(one.client.progress_reports.values())
            if len([all_ for all_ in told if all_ and all_[-1].kind == "end"]) >= progresses:
                return told
            await asyncio.sleep(0.01)

    return await asyncio.wait_for(ended(), LIMIT_S)


@pytest.mark.parametrize("then", ["ready", "error", "stopped"])
async def test_loading_is_begun_reported_and_ended(then: str) -> None:
    async with editor(state="starting", work_done_progress=True) as one:
        one.send("fake/state", {"state": "loading", "message": "reading weights 1.0 of 50.4 GB"})
        await one.heard("lacuna/status")
        await begun(one)
        load(one, "reading weights 2.0 of 50.4 GB", then=then)
        [told] = await reports(one)
        assert isinstance(told[0], types.WorkDoneProgressBegin)
        assert told[0].title == "Loading fake"
        assert told[0].message == "reading weights 1.0 of 50.4 GB"
        assert isinstance(told[-1], types.WorkDoneProgressEnd)
        assert told[-1].message == ("no weights" if then == "error" else None)
        assert all(isinstance(report, types.WorkDoneProgressReport) for report in told[1:-1])


async def test_loading_again_is_another_progress() -> None:
    async with editor(work_done_progress=True) as one:
        load(one, "reading")
        await reports(one)
        load(one, "reading again")
        told = await reports(one, 2)
        assert [[report.kind for report in (all_[0], all_[-1])] for all_ in told] == [["begin", "end"]] * 2


async def test_an_editor_that_shows_none_is_sent_none() -> None:
    async with editor(state="starting") as one:
        load(one, "reading weights")
        states = [(await one.heard("lacuna/status")).state for _ in range(2)]
        assert states == ["loading", "ready"]
        assert not one.client.progress_reports


async def test_an_editor_that_cancels_or_refuses_changes_nothing() -> None:
    for accepts in (True, False):
        wire = Wire(state="starting")
        wire.answers["window/workDoneProgress/create"] = (lambda _: None) if accepts else refuse
        await wire.start({"window": {"workDoneProgress": True}})
        wire.client.become("loading", "reading weights")
        (create,) = await wire.until(lambda wire=wire: wire.named("window/workDoneProgress/create"))
        if accepts:
            await wire.until(lambda wire=wire: wire.named("$/progress"))
            wire.send("window/workDoneProgress/cancel", create)
        wire.send("window/workDoneProgress/cancel", {"token": "nobody's"})
        wire.client.become("loading", "reading more weights")
        await wire.settle()
        wire.client.become("ready")
        await wire.settle()
        kinds = [told["value"]["kind"] for told in wire.named("$/progress")]
        assert kinds == (["begin", "report", "end"] if accepts else [])
        assert wire.named("lacuna/status")[-1]["state"] == "ready"


def refuse(_: Any) -> None:
    raise ValueError("no progress here")
