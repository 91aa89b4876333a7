"""The next edit through real messages: asked after typing, right in every encoding, silent where it should be."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lsprotocol import types

from lsp_server.features import next_edit
from tests.support.editor import LIMIT_S, URI, Editor, editor

SCHEMA = json.loads(Path(next_edit.__file__).with_suffix(".schema.json").read_text())
BEFORE = "def area(w, h):  # 😀\n    return '😀', w * h\n"
METHODS = (next_edit.NEXT_EDIT, next_edit.COPILOT)


async def ask(one: Editor, method: str, version: int | None = None, uri: str = URI) -> list[dict[str, Any]]:
    params = {"textDocument": {"uri": uri, "version": version}, "position": {"line": 0, "character": 14}}
    jsonschema.validate(params, {"$ref": "#/$defs/Params", "$defs": SCHEMA["$defs"]})
    body = plain(await asyncio.wait_for(one.client.protocol.send_request_async(method, params), LIMIT_S))
    jsonschema.validate(body, {"$ref": "#/$defs/Result", "$defs": SCHEMA["$defs"]})
    edits: list[dict[str, Any]] = body["edits"]
    return edits


def plain(value: Any) -> Any:
    """What pygls makes of an answer that it does not know, as JSON has it."""
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


async def rename(one: Editor, version: int = 2) -> None:
    span = types.Range(types.Position(0, 9), types.Position(0, 10))
    one.client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(uri=URI, version=version),
            [types.TextDocumentContentChangePartial(range=span, text="width")],
        )
    )


@pytest.mark.parametrize("method", METHODS)
async def test_the_same_change_is_offered_with_its_version(method: str) -> None:
    async with editor() as one:
        one.open(BEFORE, version=1)
        await rename(one)
        (edit,) = await ask(one, method, 2)
        assert edit["text"] == "width"
        assert edit["textDocument"] == {"uri": URI, "version": 2}
        assert edit["range"]["start"]["line"] == 1
        assert await one.command(edit["command"]["command"]) is None


@pytest.mark.parametrize(("encoding", "character"), [("utf-8", 19), ("utf-16", 17), ("utf-32", 16)])
async def test_positions_are_the_editor_s(encoding: str, character: int) -> None:
    async with editor(encodings=(encoding,)) as one:
        one.open(BEFORE, version=1)
        await rename(one)
        (edit,) = await ask(one, next_edit.NEXT_EDIT)
        assert edit["range"] == {
            "start": {"line": 1, "character": character},
            "end": {"line": 1, "character": character + 1},
        }


async def test_nothing_where_nothing_is_plain() -> None:
    async with editor() as one:
        one.open(BEFORE, version=1)
        assert await ask(one, next_edit.NEXT_EDIT) == []
        await rename(one)
        assert await ask(one, next_edit.NEXT_EDIT, version=1) == [], "of a version that is gone"
        assert await ask(one, next_edit.NEXT_EDIT, uri="file:///other.py") == []


async def test_switched_off() -> None:
    async with editor(options={"nextEdit": False}) as one:
        one.open(BEFORE, version=1)
        await rename(one)
        assert await ask(one, next_edit.NEXT_EDIT) == []
