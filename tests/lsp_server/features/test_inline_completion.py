"""Ghost text over the wire: a real server process, the scripted worker."""

import asyncio
import json
from pathlib import Path

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from tests.support.editor import LIMIT_S, URI, editor


def place(item: types.InlineCompletionItem) -> tuple[int, int, int, int]:
    assert item.range
    start, end = item.range.start, item.range.end
    return start.line, start.character, end.line, end.character


async def test_the_capability_is_advertised() -> None:
    async with editor() as one:
        capabilities = one.initialized.capabilities
        assert capabilities.inline_completion_provider is not None
        assert capabilities.text_document_sync
        assert capabilities.text_document_sync.change == types.TextDocumentSyncKind.Incremental
        assert capabilities.execute_command_provider
        commands = set(capabilities.execute_command_provider.commands)
        assert commands >= {"lacuna.status", "lacuna.restartWorker", "lacuna.fillGap"}


@pytest.mark.parametrize(
    ("offered", "chosen", "character"),
    [(("utf-8", "utf-16"), "utf-8", 11), (("utf-16",), "utf-16", 9), (("utf-32", "utf-8"), "utf-32", 8)],
)
async def test_a_zero_length_range_in_the_editor_s_units(offered: tuple[str, ...], chosen: str, character: int) -> None:
    async with editor(encodings=offered, fills=["1"]) as one:
        assert one.initialized.capabilities.position_encoding == chosen
        one.open('a = "🎉"\nb=["🎉", ]\n')
        (item,) = await one.complete(1, character)
        assert item.insert_text == "1"
        assert place(item) == (1, character, 1, character)


async def test_edits_in_the_editor_s_units_arrive() -> None:
    async with editor(fills=["1"]) as one:
        one.open('s = "🎉"\nx\n')
        one.insert("\u2028🎉", 0, 7, version=2)  # behind the emoji, in UTF-16 units
        one.insert(" = ", 1, 1, version=3)
        assert len(await one.complete(1, 4)) == 1
        request = (await one.heard("fake/infill")).request
        assert request.segments[0].text == 's = "🎉\u2028🎉"\nx = '


async def test_a_newer_request_ends_the_older_one() -> None:
    async with editor(hold=True, fills=["1"]) as one:
        one.open("x = \ny = \n")
        older = asyncio.create_task(one.complete(0, 4))
        await one.heard("fake/infill")
        newer = asyncio.create_task(one.complete(1, 4))
        await one.heard("fake/cancelled")
        assert await older == []
        await one.heard("fake/infill")
        one.send("fake/release")
        assert len(await newer) == 1


async def test_ten_fast_requests_get_ten_answers() -> None:
    async with editor(fills=["1"]) as one:
        one.open("x = \n")
        answers = await asyncio.gather(*(one.complete(0, 4) for _ in range(10)))
        assert [len(items) for items in answers] == [0] * 9 + [1]


async def test_two_documents_do_not_disturb_each_other() -> None:
    async with editor(hold=True, fills=["1"]) as one:
        one.open("x = \n")
        one.open("x = \n", uri="file:///project/b.py")
        first = asyncio.create_task(one.complete(0, 4))
        await one.heard("fake/infill")
        second = asyncio.create_task(one.complete(0, 4, uri="file:///project/b.py"))
        await one.heard("fake/infill")
        one.send("fake/release")
        one.send("fake/release")
        assert len(await first) == len(await second) == 1


async def test_the_editor_may_cancel() -> None:
    async with editor(hold=True) as one:
        one.open("x = \n")
        params = types.InlineCompletionParams(
            text_document=types.TextDocumentIdentifier(URI),
            position=types.Position(0, 4),
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
        )
        request = one.client.protocol.send_request_async(types.TEXT_DOCUMENT_INLINE_COMPLETION, params, msg_id="mine")
        answer = asyncio.create_task(request)
        await one.heard("fake/infill")
        one.client.cancel_request(types.CancelParams("mine"))
        await one.heard("fake/cancelled")
        with pytest.raises(JsonRpcException) as caught:
            await asyncio.wait_for(answer, LIMIT_S)
        assert caught.value.code == types.LSPErrorCodes.RequestCancelled.value


async def test_typing_while_the_worker_thinks_makes_the_answer_stale() -> None:
    async with editor(hold=True, fills=["1"]) as one:
        one.open("x = \n")
        answer = asyncio.create_task(one.complete(0, 4))
        await one.heard("fake/infill")
        one.insert("y", 0, 4, version=2)
        one.send("fake/release")
        await one.heard("fake/answered")
        assert await answer == []


async def test_typing_during_the_debounce_asks_nothing() -> None:
    async with editor(options={"debounceMs": 200}) as one:
        one.open("x = \n")
        answer = asyncio.create_task(one.complete(0, 4))
        await asyncio.sleep(0)
        one.insert("y", 0, 4, version=2)
        assert await answer == []
        assert len(await one.complete(0, 5, kind=1)) == 1
        assert (await one.heard("fake/infill")).request.segments[0].text == "x = y"


async def test_closing_a_document_ends_its_request() -> None:
    async with editor(hold=True) as one:
        one.open("x = \n")
        answer = asyncio.create_task(one.complete(0, 4))
        await one.heard("fake/infill")
        one.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))
        await one.heard("fake/cancelled")
        assert await answer == []
        assert await one.complete(0, 4) == []


@pytest.mark.parametrize(
    ("name", "text"), [("test", "a()\r\n    b()"), ("Neovim", "a()\n    b()"), ("emacs", "a()\n    b()")]
)
async def test_crlf(name: str, text: str) -> None:
    async with editor(name=name, fills=["a()\n    b()"]) as one:
        one.open("def f():\r\n    \r\n")
        (item,) = await one.complete(1, 4)
        assert item.insert_text == text
        assert place(item) == (1, 4, 1, 4)


async def test_nul_and_half_a_surrogate_pair() -> None:
    async with editor(fills=["1"]) as one:
        one.open('a = "\0"\nb = "\ud83d"\nx = \n')
        (item,) = await one.complete(2, 4)
        assert place(item) == (2, 4, 2, 4)


@pytest.mark.parametrize(("line", "character", "expected"), [(0, 99, (0, 4)), (99, 0, (1, 0)), (99, 99, (1, 0))])
async def test_a_position_outside_clamps(line: int, character: int, expected: tuple[int, int]) -> None:
    async with editor(fills=["y = 1"]) as one:
        one.open("x = \n")
        (item,) = await one.complete(line, character)
        assert place(item) == (*expected, *expected)


async def test_five_megabytes_get_nothing_and_a_reason() -> None:
    async with editor() as one:
        one.open("x = \n" + "y" * 5_000_001)
        assert await one.complete(0, 4) == []
        assert "5 MB" in (await one.heard("lacuna/status")).inactive.reason


async def test_secrets_get_nothing_and_a_reason() -> None:
    async with editor() as one:
        one.open("KEY=", uri="file:///project/.env.local", language_id="shellscript")
        assert await one.complete(0, 4, uri="file:///project/.env.local") == []
        assert "secrets" in (await one.heard("lacuna/status")).inactive.reason


async def test_an_unknown_language_has_plain_rules() -> None:
    async with editor(fills=["b)"]) as one:
        one.open("f(a, \n", language_id="zig", uri="file:///a.zig")
        (item,) = await one.complete(0, 5, uri="file:///a.zig")
        assert item.insert_text == "b)"


async def test_a_document_that_is_not_open_gets_nothing() -> None:
    async with editor() as one:
        assert await one.complete(0, 0, uri="file:///nowhere.py") == []


async def test_a_worker_that_is_not_ready_means_nothing_and_a_status() -> None:
    async with editor(state="loading") as one:
        one.open("x = \n")
        assert await one.complete(0, 4) == []
        one.send("fake/state", {"state": "ready", "message": ""})
        assert (await one.heard("lacuna/status")).state == "ready"
        assert len(await one.complete(0, 4)) == 1


@pytest.mark.parametrize("code", ["superseded", "internal", "out_of_memory", "queue_full"])
async def test_an_error_of_the_worker_means_nothing(code: str) -> None:
    async with editor(error=code) as one:
        one.open("x = \n")
        for _ in range(2):  # the next key asks again, and nothing is asked in between
            assert await one.complete(0, 4) == []
            await one.heard("fake/infill")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.heard("fake/infill"), 0.05)


async def test_the_old_vs_code_client_counts_trigger_kinds_from_zero() -> None:
    async with editor() as one:
        one.open("val\n")
        params = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 1}, "context": {"triggerKind": 0}}
        answer = await one.ask(types.TEXT_DOCUMENT_INLINE_COMPLETION, params)
        assert len(answer) == 1  # inside a word, so it was taken as Invoked


@pytest.mark.parametrize("params", [{"context": {"triggerKind": 9}}, {"position": "here"}, {}])
async def test_a_request_that_cannot_be_read_is_answered_with_an_error(params: dict[str, object]) -> None:
    async with editor() as one:
        with pytest.raises(JsonRpcException):
            await one.ask(types.TEXT_DOCUMENT_INLINE_COMPLETION, params)
        one.open("x = \n")
        assert len(await one.complete(0, 4)) == 1


async def test_bad_options_are_told_and_the_defaults_hold() -> None:
    async with editor(options={"debounceMs": "soon", "url": "http://elsewhere"}) as one:
        one.open("x = \n")
        assert len(await one.complete(0, 4)) == 1
        assert len(one.client.messages) == 2


async def test_drafts_are_sent_when_asked_for() -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads((Path(__file__).parents[3] / "lsp_server/features/notifications.schema.json").read_text())
    async with editor(options={"drafts": True}, fills=["1"]) as one:
        one.open("x = \n")
        await one.complete(0, 4)
        draft = (await one.heard("lacuna/draft"))._asdict()
        Draft202012Validator({**schema, "$ref": "#/$defs/lacuna~1draft"}).validate(draft)
        assert draft["fills"] == ["1"]


async def test_other_open_files_come_along_but_not_those_that_are_excluded() -> None:
    async with editor(options={"contextSnippets": 500, "excludedFiles": ["private.py"]}) as one:
        text = "def area_of(width, height):\n    return width * height  # {}\n"
        for name in (".env.py", "private.py", "shapes.py"):
            one.open(text.format(name), f"file:///project/{name}")
        one.open("def volume_of(width, height):\n    return \n")
        await one.complete(1, 11)
        first, *_ = (await one.heard("fake/infill")).request.segments
        assert first.text.startswith("# From shapes.py:\n# def area_of(width, height):")
        assert "private" not in first.text
        assert ".env" not in first.text


async def test_saving_lets_snippets_be_chosen_again() -> None:
    async with editor(options={"contextSnippets": 500}) as one:
        other = "file:///project/shapes.py"
        one.open("def area_of(width, height):\n    return 1\n", other)
        one.open("def volume_of(width, height):\n    return \n")
        heard = []
        for version in (2, 3):
            await one.complete(1, 9 + version)
            heard.append((await one.heard("fake/infill")).request.segments[0].text)
            one.insert("0", 1, 12, version, other)
            one.insert("h", 1, 9 + version, version)  # something else, or the model need not be asked
        assert heard[0] == heard[1], "what lies far is frozen"
        one.client.text_document_did_save(types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(other)))
        await one.complete(1, 13)
        assert "return 100" in (await one.heard("fake/infill")).request.segments[0].text
