"""Commands that edit, over the wire: a real server process, the scripted worker, an editor that applies edits."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp_server.positions import Encoding, LineIndex
from tests.support.editor import URI, Editor, editor

SCHEMA = json.loads((Path(__file__).parents[3] / "lsp_server/features/commands.schema.json").read_text())
TWO_HOLES = "def area(w, h):\n    ...\n\n\ndef volume(w, h, d):\n    pass\n"
ZERO = {"line": 0, "character": 0}
FILL_GAP, FILL_ALL, REWRITE = "lacuna.fillGap", "lacuna.fillAllHoles", "lacuna.rewrite"


class Applying:
    """What an editor does with the edits that it is asked to apply: it applies them, to the version that they name."""

    def __init__(self, one: Editor, text: str, encoding: Encoding = Encoding.UTF16, accepts: bool = True) -> None:
        self.take(text, encoding)

        @one.client.feature(types.WORKSPACE_APPLY_EDIT)
        def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            self.params.append(params)
            if accepts:
                self.apply(params.edit)
            return types.ApplyWorkspaceEditResult(applied=accepts, failure_reason=None if accepts else "read only")

    @classmethod
    def without(cls, text: str) -> "Applying":
        """One that is asked by the test alone."""
        self = cls.__new__(cls)
        self.take(text)
        return self

    def take(self, text: str, encoding: Encoding = Encoding.UTF16) -> None:
        self.text, self.version, self.params = text, 1, list[types.ApplyWorkspaceEditParams]()
        self._encoding = encoding

    def apply(self, edit: types.WorkspaceEdit) -> None:
        edits: list[Any] = []
        for change in edit.document_changes or []:
            assert isinstance(change, types.TextDocumentEdit)
            assert change.text_document.version == self.version
            edits += change.edits
        for plain in (edit.changes or {}).values():
            edits += plain
        lines = LineIndex(self.text)

        def offset(place: types.Position) -> int:
            return lines.offset(place.line, place.character, self._encoding)

        for one in sorted(edits, key=lambda one: offset(one.range.start), reverse=True):
            self.text = self.text[: offset(one.range.start)] + one.new_text + self.text[offset(one.range.end) :]


def at(line: int, character: int, **more: Any) -> dict[str, Any]:
    return {"uri": URI, "position": {"line": line, "character": character}, **more}


def span(start: tuple[int, int], end: tuple[int, int], **more: Any) -> dict[str, Any]:
    places = ({"line": line, "character": character} for line, character in (start, end))
    return {"uri": URI, "range": dict(zip(("start", "end"), places, strict=True)), **more}


COMMANDS: dict[str, dict[str, Any]] = {
    FILL_GAP: at(1, 4),
    FILL_ALL: {"uri": URI},
    REWRITE: span((1, 0), (1, 7)),
}

WRONG: list[tuple[Any, ...]] = [
    (),
    (1,),
    ({},),
    ({"uri": 1, "position": ZERO, "range": {"start": ZERO, "end": ZERO}},),
    ({"uri": URI, "position": {"line": -1, "character": 0}, "range": {"start": ZERO, "end": {}}, "preview": "yes"},),
    ({"uri": URI, "position": ZERO, "range": {"start": ZERO, "end": ZERO}, "strength": 2},),
    ({"uri": URI, "unknown": 1},),
    ({"uri": URI}, {"uri": URI}),
]


def validate(name: str, value: Any) -> None:
    Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name.replace('/', '~1')}"}).validate(value)


def as_dict(params: Any) -> Any:
    if hasattr(params, "_asdict"):
        return {name: as_dict(value) for name, value in params._asdict().items()}
    return [as_dict(one) for one in params] if isinstance(params, list) else params


async def ask(one: Editor, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    validate(command, arguments)
    answer = as_dict(await one.command(command, arguments))
    validate("answer", answer)
    assert isinstance(answer, dict)
    return answer


async def refused(one: Editor, command: str, arguments: dict[str, Any]) -> str:
    """Why a command does nothing: one sentence."""
    answer = await ask(one, command, arguments)
    assert answer["applied"] is False
    assert answer["reason"].endswith(".")
    assert "\n" not in answer["reason"]
    return str(answer["reason"])


async def test_the_gap_is_filled_by_an_edit_of_that_version() -> None:
    async with editor(fills=["1"]) as one:
        editing = Applying(one, "x = \n")
        editing.version = 7
        one.open("x = \n", version=7)
        assert (await ask(one, FILL_GAP, at(0, 4)))["applied"]
        assert editing.text == "x = 1\n"


async def test_a_hole_is_filled_whatever_its_line_was() -> None:
    async with editor(fills=["return w * h"]) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        assert (await ask(one, FILL_GAP, at(1, 5)))["filled"] == 1
        assert editing.text == TWO_HOLES.replace("...", "return w * h")
        request = (await one.heard("fake/infill")).request
        assert request.segments[0].text == "def area(w, h):\n    ", "the model does not see the placeholder"
        assert request.segments[2].text.startswith("\n\n\ndef volume")


async def test_all_holes_are_filled_by_one_edit() -> None:
    async with editor(in_turn=["return w * h", "return w * h * d"]) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        answer = await ask(one, FILL_ALL, {"uri": URI})
        assert (answer["applied"], answer["filled"], answer["left"]) == (True, 2, [])
        assert editing.text == TWO_HOLES.replace("...", "return w * h").replace("pass", "return w * h * d")
        assert len(editing.params) == 1, "undone in one step"
        request = (await one.heard("fake/infill")).request
        assert [getattr(one, "text", "") for one in request.segments][2] == "\n\n\ndef volume(w, h, d):\n    "


async def test_a_hole_whose_fill_is_refused_stays_and_is_named() -> None:
    async with editor(in_turn=["return w * h", ")))"]) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        answer = await ask(one, FILL_ALL, {"uri": URI})
        assert answer["filled"] == 1
        assert [left["label"] for left in answer["left"]] == ["the body of volume"]
        assert editing.text == TWO_HOLES.replace("...", "return w * h")


async def test_a_selection_is_rewritten_and_only_what_differs_is_touched() -> None:
    text = "def f(xs):\n    out = []\n    for x in xs:\n        out.append(x)\n    return out\n"
    async with editor(fills=["out = []\n    for one in xs:\n        out.append(one)\n    return out"]) as one:
        editing = Applying(one, text)
        one.open(text)
        assert (await ask(one, REWRITE, span((1, 0), (5, 0), strength=0.3)))["applied"]
        assert editing.text == text.replace("for x", "for one").replace("(x)", "(one)")
        (change,) = editing.params[0].edit.document_changes or []
        assert isinstance(change, types.TextDocumentEdit)
        lines = {line for edit in change.edits for line in (edit.range.start.line, edit.range.end.line)}  # type: ignore[union-attr]
        assert lines == {2, 3}
        request = (await one.heard("fake/edit")).request
        assert request.strength == 0.3
        assert request.prefix == "def f(xs):\n    "
        assert request.selection.startswith("out = []")
        assert request.selection.endswith("return out")


async def test_an_instruction_goes_to_a_model_that_takes_instructions_only() -> None:
    arguments = span((0, 0), (0, 5), instruction="use two")
    async with editor(fills=["x = 2"]) as one:
        Applying(one, "x = 1\n")
        one.open("x = 1\n")
        assert "fake takes no instructions" in await refused(one, REWRITE, arguments)
        assert (await ask(one, REWRITE, span((0, 0), (0, 5))))["applied"]
        assert (await one.heard("fake/edit")).request.instruction == "", "the first request was never sent"
    async with editor(fills=["x = 2"], instructions=True) as one:
        editing = Applying(one, "x = 1\n")
        one.open("x = 1\n")
        assert (await ask(one, REWRITE, arguments))["applied"]
        assert editing.text == "x = 2\n"
        assert (await one.heard("fake/edit")).request.instruction == "use two"


async def test_a_preview_returns_the_edit_and_applies_nothing() -> None:
    async with editor(fills=["return 1"]) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        for command, arguments in COMMANDS.items():
            answer = await ask(one, command, {**arguments, "preview": True})
            (change,) = answer["edit"]["documentChanges"]
            assert change["textDocument"] == {"uri": URI, "version": 1}
            assert any("return 1" in edit["newText"] for edit in change["edits"])
            assert (answer["applied"], editing.params) == (False, [])


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_positions_behind_emoji_in_every_encoding(encoding: Encoding) -> None:
    text = 'x = ("🎉é", 1)\r\ny = ["🎉"]; z = 1\r\ndef f():\r\n    """🎉"""\r\n    pass\r\n'
    lines = LineIndex(text)
    start, end = (lines.position(text.index("z = 1") + by, encoding) for by in (0, 5))
    asked = {
        FILL_GAP: at(*lines.position(text.index("pass"), encoding)),
        FILL_ALL: {"uri": URI},
        REWRITE: span(start, end),
    }
    async with editor(encodings=(encoding.value,), fills=["z = 22"]) as one:
        one.open(text)
        editing = Applying(one, text, encoding)
        for command, arguments in asked.items():
            editing.text = text
            assert (await ask(one, command, arguments))["applied"]
            assert editing.text == text.replace("z = 1" if command == REWRITE else "pass", "z = 22"), "CRLF stays CRLF"


async def test_lines_of_a_fill_end_as_the_document_s_do() -> None:
    text = "def f():\r\n    ...\r\n"
    for name, expected in (("test", "\r\n"), ("Neovim", "\n")):
        async with editor(name=name, fills=["a = 1\n    return a"]) as one:
            editing = Applying(one, text)
            one.open(text)
            assert (await ask(one, FILL_ALL, {"uri": URI}))["applied"]
            assert editing.text == text.replace("...", f"a = 1{expected}    return a")


async def test_an_edit_meanwhile_drops_the_answer() -> None:
    async with editor(hold=True) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        for version, (command, arguments) in enumerate(COMMANDS.items(), 2):
            running = asyncio.create_task(refused(one, command, arguments))
            await one.heard("fake/edit" if command == REWRITE else "fake/infill")
            one.insert("\n", 5, 8, version)
            one.send("fake/release")
            assert "changed" in await running
        assert editing.params == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"state": "loading"}, "not ready (loading)"),
        ({"error": "internal"}, "script"),
        ({"error": "superseded"}, "took its place"),
        ({"fills": [" "]}, "Nothing to"),
        ({"fills": []}, "Nothing to"),
    ],
)
async def test_what_cannot_be_done_says_why(script: dict[str, Any], reason: str) -> None:
    async with editor(**script) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        for command, arguments in COMMANDS.items():
            assert reason in await refused(one, command, arguments)
        assert editing.params == []


async def test_a_document_that_may_not_be_edited_is_not_sent() -> None:
    secret = "file:///project/secrets.py"
    async with editor() as one:
        one.open(TWO_HOLES, uri=secret)
        one.open(TWO_HOLES, version=3)
        for command, arguments in COMMANDS.items():
            assert "never read" in await refused(one, command, {**arguments, "uri": secret})
            assert "not open" in await refused(one, command, {**arguments, "uri": "file:///other.py"})
            assert "changed" in await refused(one, command, {**arguments, "version": 2})
            for wrong in WRONG:
                with pytest.raises(JsonRpcException):
                    await one.command(command, *wrong)
        await ask(one, FILL_ALL, {"uri": URI, "version": 3, "preview": True})
        await one.heard("fake/answered")
        assert one.unheard("fake/infill") == 1, "the first that the worker hears"
        assert one.unheard("fake/edit") == 0


async def test_an_editor_that_refuses() -> None:
    async with editor(fills=["return 1"]) as one:
        Applying(one, TWO_HOLES, accepts=False)
        one.open(TWO_HOLES)
        for command, arguments in COMMANDS.items():
            answer = await ask(one, command, arguments)
            assert (answer["applied"], answer["reason"]) == (False, "read only")


async def test_a_second_command_for_the_document_ends_the_first_and_no_other_s() -> None:
    other = "file:///project/b.py"
    async with editor(hold=True, fills=["return 1"]) as one:
        Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        one.open(TWO_HOLES, uri=other)
        first = asyncio.create_task(refused(one, FILL_ALL, {"uri": URI}))
        await one.heard("fake/infill")
        beside = asyncio.create_task(ask(one, FILL_ALL, {"uri": other, "preview": True}))
        await one.heard("fake/infill")
        second = asyncio.create_task(ask(one, REWRITE, COMMANDS[REWRITE]))
        await one.heard("fake/cancelled")
        assert "took its place" in await first
        await one.heard("fake/edit")
        for _ in range(2):
            one.send("fake/release")
        assert (await second)["applied"]
        assert (await beside)["filled"] == 2


async def test_typing_on_in_another_document_and_ghost_text_do_not_disturb_a_command() -> None:
    async with editor(hold=True, fills=["return 1"]) as one:
        Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        running = asyncio.create_task(ask(one, FILL_GAP, at(1, 4)))
        asked = (await one.heard("fake/infill")).request
        completing = asyncio.create_task(one.complete(1, 7, kind=1))
        assert (await one.heard("fake/infill")).request.document != asked.document, "or it would supersede the command"
        for _ in range(2):
            one.send("fake/release")
        assert (await running)["applied"]
        await completing


async def test_progress_is_shown_and_can_be_cancelled() -> None:
    async with editor(hold=True, fills=["return 1"], work_done_progress=True) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        running = asyncio.create_task(refused(one, FILL_ALL, {"uri": URI}))
        await one.heard("fake/infill")
        while not any((told := one.client.progress_reports).values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        ((token, reports),) = told.items()
        assert (reports[0].kind, reports[0].title, reports[0].cancellable) == ("begin", "Lacuna: fill the holes", True)
        one.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
        await one.heard("fake/cancelled")
        assert await running == "Cancelled."
        assert [report.kind for report in reports] == ["begin", "end"]
        assert editing.params == []


async def test_the_editor_can_cancel_its_request() -> None:
    async with editor(hold=True) as one:
        one.open(TWO_HOLES)
        params = types.ExecuteCommandParams(command=FILL_ALL, arguments=[{"uri": URI}])
        protocol = one.client.protocol
        request = protocol.send_request_async(types.WORKSPACE_EXECUTE_COMMAND, params, msg_id="mine")
        running = asyncio.create_task(request)
        await one.heard("fake/infill")
        one.client.cancel_request(types.CancelParams(id="mine"))
        await one.heard("fake/cancelled")
        with pytest.raises(JsonRpcException, match="cancel"):
            await asyncio.wait_for(running, 10)


async def test_confirmation_where_the_option_and_the_editor_want_it() -> None:
    able = types.WorkspaceEditClientCapabilities(
        document_changes=True, change_annotation_support=types.ChangeAnnotationsSupportOptions()
    )
    for options, expected in (({"confirmEdits": True}, [True]), ({}, [])):
        async with editor(options=options, workspace_edit=able, fills=["return 1"]) as one:
            editing = Applying(one, TWO_HOLES)
            one.open(TWO_HOLES)
            assert (await ask(one, FILL_ALL, {"uri": URI}))["applied"]
            annotations = editing.params[0].edit.change_annotations or {}
            assert [one.needs_confirmation for one in annotations.values()] == expected
            (change,) = editing.params[0].edit.document_changes or []
            assert isinstance(change, types.TextDocumentEdit)
            assert {getattr(edit, "annotation_id", None) in annotations for edit in change.edits} == {bool(expected)}


async def test_an_editor_without_document_changes_gets_plain_ones() -> None:
    async with editor(workspace_edit=None, fills=["return 1"]) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        assert (await ask(one, FILL_GAP, at(1, 4)))["applied"]
        assert editing.params[0].edit.document_changes is None
        assert editing.text == TWO_HOLES.replace("...", "return 1")


async def test_a_docstring_is_filled_in() -> None:
    async with editor(fills=["The area of a rectangle."]) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        assert (await ask(one, FILL_GAP, at(0, 4, docstring=True)))["applied"]
        assert editing.text == TWO_HOLES.replace("    ...", '    """The area of a rectangle."""\n    ...')
