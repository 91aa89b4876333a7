import asyncio

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from tests.support.editor import URI, Editor, editor


def follow_edits(one: Editor) -> list[types.ApplyWorkspaceEditParams]:
    applied: list[types.ApplyWorkspaceEditParams] = []

    @one.client.feature(types.WORKSPACE_APPLY_EDIT)
    def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        applied.append(params)
        return types.ApplyWorkspaceEditResult(applied=True)

    return applied


def at(line: int, character: int, uri: str = URI) -> dict[str, object]:
    return {"uri": uri, "position": {"line": line, "character": character}}


async def test_the_gap_is_filled_by_an_edit_of_that_version() -> None:
    async with editor(fills=["1"]) as one:
        applied = follow_edits(one)
        one.open("x = \n", version=7)
        assert await one.command("lacuna.fillGap", at(0, 4)) == {"applied": True, "reason": ""}
        assert applied[0].edit.document_changes
        (change,) = applied[0].edit.document_changes
        assert isinstance(change, types.TextDocumentEdit)
        assert change.text_document.version == 7
        (edit,) = change.edits
        assert isinstance(edit, types.TextEdit)
        assert edit.new_text == "1"
        assert edit.range == types.Range(types.Position(0, 4), types.Position(0, 4))


@pytest.mark.parametrize(
    ("script", "reason"),
    [({"state": "loading"}, ""), ({"error": "internal"}, "script"), ({"fills": [" "]}, "nothing to add")],
)
async def test_what_cannot_be_filled_says_why(script: dict[str, object], reason: str) -> None:
    async with editor(**script) as one:
        one.open("x = \n")
        answer = await one.command("lacuna.fillGap", at(0, 4))
        assert answer["applied"] is False
        assert reason in answer["reason"]


async def test_a_document_that_is_not_open() -> None:
    async with editor() as one:
        assert not (await one.command("lacuna.fillGap", at(0, 0)))["applied"]


async def test_an_edit_meanwhile_drops_the_fill() -> None:
    async with editor(hold=True) as one:
        applied = follow_edits(one)
        one.open("x = \n")
        command = asyncio.create_task(one.command("lacuna.fillGap", at(0, 4)))
        await one.heard("fake/infill")
        one.insert("y", 0, 4, version=2)
        one.send("fake/release")
        assert not (await command)["applied"]
        assert applied == []


@pytest.mark.parametrize("arguments", [(), (1,), ({"uri": URI},), (at(0, 0), at(0, 0))])
async def test_wrong_arguments_are_refused(arguments: tuple[object, ...]) -> None:
    async with editor() as one:
        with pytest.raises(JsonRpcException):
            await one.command("lacuna.fillGap", *arguments)
