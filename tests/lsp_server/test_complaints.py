"""What users of other servers complain about, as far as no other test keeps it: over real messages, in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lsp_server.commands.serve import REQUEST_FAILED, is_news
from tests.support.wire import Wire

URI = "file:///project/a.py"
QUIET = {"initializationOptions": {"debounceMs": 0, "speculate": False}}


def asked(line: int, character: int, kind: int = 2, **more: Any) -> dict[str, Any]:
    place = {
        "textDocument": {"uri": URI, **more.pop("document", {})},
        "position": {"line": line, "character": character},
    }
    return {**place, "context": {"triggerKind": kind}, **more}


async def edit(wire: Wire, start: tuple[int, int], end: tuple[int, int], text: str, version: int) -> None:
    places = ({"line": line, "character": character} for line, character in (start, end))
    change = {"range": dict(zip(("start", "end"), places, strict=True)), "text": text}
    document = {"uri": URI, "version": version}
    wire.send("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})


async def test_nothing_of_ours_stands_between_the_user_and_a_save() -> None:
    wire = Wire(hold=True)
    capabilities = (await wire.start(**QUIET))["capabilities"]
    sync = capabilities["textDocumentSync"]
    assert not sync.get("willSave")
    assert not sync.get("willSaveWaitUntil")
    assert not [name for name in capabilities if "ormatting" in name]
    wire.open("x = \n")
    waiting = asyncio.create_task(wire.ask("textDocument/inlineCompletion", asked(0, 4)))
    await wire.settle()
    wire.send("textDocument/didSave", {"textDocument": {"uri": URI}})
    assert "result" in await wire.command("lacuna.status"), "the worker thinks, and everything else goes on"
    assert not waiting.done()
    wire.client.gate.release()
    assert [item["insertText"] for item in (await waiting)["result"]] == ["42"]


async def test_no_key_is_ours() -> None:
    wire = Wire(fills=("total(\n    a,\n)",))
    started = await wire.start(**{"initializationOptions": {"completionItems": "on"}})
    capabilities = started["capabilities"]
    assert "documentOnTypeFormattingProvider" not in capabilities
    popup = capabilities.get("completionProvider") or {}
    assert not popup.get("allCommitCharacters"), "Tab and Enter insert a tab and a line where nobody chose an item"
    wire.open("x = \n")
    answer = await wire.ask("textDocument/completion", {k: v for k, v in asked(0, 4).items() if k != "context"})
    result = answer["result"]
    for item in result["items"] if isinstance(result, dict) else result:
        assert not item.get("preselect")
        assert not item.get("commitCharacters")


async def test_a_client_that_announces_nothing_is_served_with_a_range() -> None:
    wire = Wire(fills=("x = a\n    if x:\n        x += 1\n    return x",))
    assert "inlineCompletionProvider" in (await wire.start({}, **QUIET))["capabilities"], "lsp-mode and Neovim"
    wire.open("def f(a):\n    \n")
    (item,) = await wire.complete(1, 4)
    place = {"line": 1, "character": 4}
    assert item["range"] == {"start": place, "end": place}, "VS Code replaces to the line's end without one"
    assert item["insertText"].count("\n") == 3


@pytest.mark.parametrize("kind", [0, 1, 2])
async def test_what_clients_add_or_count_otherwise_is_no_reason_to_refuse(kind: int) -> None:
    wire = Wire()
    await wire.start(**QUIET)
    wire.open("x = \n")
    extra = {"formattingOptions": {"tabSize": 4, "insertSpaces": True}, "partialResultToken": "p", "workDoneToken": 1}
    answer = await wire.ask("textDocument/inlineCompletion", asked(0, 4, kind, document={"version": 1}, **extra))
    assert [item["insertText"] for item in answer["result"]] == ["42"]


async def test_an_editor_that_never_cancels_has_one_request_at_the_worker() -> None:
    live: list[int] = []
    wire = Wire(hold=True)
    held = 0

    def heard(event: str, _: object) -> None:
        nonlocal held
        held += {"infill": 1, "cancelled": -1, "answered": -1}.get(event, 0)
        live.append(held)

    wire.client._heard = heard
    await wire.start(**QUIET)
    wire.open("xs = [\n")
    answers = []
    for number, char in enumerate("1, 2, 3, " * 20):
        await edit(wire, (0, 6 + number), (0, 6 + number), char, number + 2)
        answers.append(asyncio.create_task(wire.ask("textDocument/inlineCompletion", asked(0, 7 + number))))
        await wire.settle()
    for _ in range(len(answers)):
        wire.client.gate.release()
    results = [answer["result"] or [] for answer in await asyncio.gather(*answers)]
    assert not any(results[:-1]), "of all texts but the last nothing is shown"
    assert max(live) <= 1
    assert live[-1] == 0


@pytest.mark.parametrize(
    "marker", ["// =======", "<<<<<<< HEAD", "<|fim_middle|>", "<mask>", "<start_of_turn>user", "<eos>", "[MASK]"]
)
async def test_what_looks_like_a_control_token_is_text(marker: str) -> None:
    wire = Wire()
    await wire.start(**QUIET)
    wire.open(f'a = "{marker}"\n# {marker}\nx = \n')
    assert [item["insertText"] for item in await wire.complete(2, 4)] == ["42"]
    assert marker in str(wire.client.requests[-1].segments)


async def test_a_bracket_that_the_editor_closed_comes_once() -> None:
    wire = Wire(fills=("a, b)",))
    await wire.start(**QUIET)
    wire.open("print\n")
    await edit(wire, (0, 5), (0, 5), "()", 2)
    (item,) = await wire.complete(0, 6)
    assert item["insertText"] == "a, b"


async def test_a_refusal_is_an_answer_and_no_noise_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(is_news)
    wire = Wire(fills=("",))
    resolving = {"resolveSupport": {"properties": ["edit"]}, "dataSupport": True}
    literals = {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": []}}}
    await wire.start({"textDocument": {"codeAction": {**resolving, **literals}}})
    wire.open("def f():\n    ...\n")
    place = {"line": 1, "character": 4}
    where = {"textDocument": {"uri": URI}, "range": {"start": place, "end": place}, "context": {"diagnostics": []}}
    action, *_ = (await wire.ask("textDocument/codeAction", where))["result"]
    answer = await wire.ask("codeAction/resolve", action)
    assert answer["error"]["code"] == REQUEST_FAILED
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_taking_and_undoing_leaves_nothing_stale() -> None:
    wire = Wire(fills=("alpha + beta",))
    await wire.start(**QUIET)
    wire.open("x = \ny = 1\n")
    (shown,) = await wire.complete(0, 4)
    await edit(wire, (0, 4), (0, 4), shown["insertText"], 2)
    for item in await wire.complete(0, 16) or []:
        assert item["range"]["start"]["character"] == 16
        assert not item["insertText"].startswith("alpha"), "said once already"
    await edit(wire, (0, 4), (0, 16), "", 3)
    (again,) = await wire.complete(0, 4)
    assert again == shown
    await edit(wire, (0, 4), (0, 4), "zeta", 4)
    assert not [item for item in await wire.complete(0, 8) or [] if item["insertText"] in "alpha + beta"[4:]]
