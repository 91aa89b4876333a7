"""Manners: every request is answered, whatever is wrong with it or with the moment, and the server goes on."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lsp_server.exclusions.exclusions import MAX_CHARACTERS
from tests.support.wire import Wire

URI = "file:///project/a.py"
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
NOT_INITIALIZED = -32002


def last(wire: Wire) -> dict[str, Any]:
    return wire.told[-1]


async def works(wire: Wire) -> None:
    wire.open("x = \n", "file:///project/b.py")
    assert len(await wire.complete(0, 4, "file:///project/b.py")) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 100_000, b"nonsense", '{"jsonrpc": "2.0", "id": 1, "method": "ü'.encode("latin-1")],
)
async def test_what_is_no_json_is_told_and_skipped(body: bytes) -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.server.protocol.receive(body)
    assert last(wire)["error"]["code"] == PARSE_ERROR
    assert last(wire)["id"] is None
    await works(wire)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ([], INVALID_REQUEST),
        (5, INVALID_REQUEST),
        (None, INVALID_REQUEST),
        ([{"jsonrpc": "2.0", "id": 7, "method": "shutdown"}], INVALID_REQUEST),
        ({"id": 7, "method": "shutdown"}, INVALID_REQUEST),
        ({"jsonrpc": "1.0", "id": 7, "method": "shutdown"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 7, "method": "no/such/method", "params": {"jsonrpc": "2.0"}}, METHOD_NOT_FOUND),
        ({"jsonrpc": "2.0", "id": 7, "method": "lacuna/nothing"}, METHOD_NOT_FOUND),
        ({"jsonrpc": "2.0", "id": "a", "method": "textDocument/inlineCompletion", "params": 5}, INVALID_PARAMS),
        (
            {"jsonrpc": "2.0", "id": 7, "method": "workspace/executeCommand", "params": {"command": "no"}},
            INVALID_PARAMS,
        ),
        ({"jsonrpc": "2.0", "id": 7, "method": 5}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": {}, "method": "no/such"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": None, "method": "shutdown"}, INVALID_REQUEST),
    ],
)
async def test_what_is_no_request_is_refused(message: Any, code: int) -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.server.protocol.receive(json.dumps(message).encode())
    await wire.settle()
    assert last(wire)["error"]["code"] == code
    await works(wire)


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "id": 99},
        {"jsonrpc": "2.0", "id": 99, "result": None},
        {"jsonrpc": "2.0", "id": 99, "error": {"code": 1, "message": "no"}},
        {"jsonrpc": "2.0", "method": "$/unheardOf", "params": {}},
        {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 99}},
        {"jsonrpc": "2.0", "method": "$/cancelRequest"},
        {"jsonrpc": "2.0", "method": "textDocument/didClose", "params": []},
    ],
)
async def test_notifications_and_answers_that_nobody_expects_are_ignored(message: dict[str, Any]) -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    told = len(wire.told)
    wire.server.protocol.receive(json.dumps(message).encode())
    await wire.settle()
    assert len(wire.told) == told
    await works(wire)


async def test_before_initialize_there_is_nothing_but_a_refusal() -> None:
    wire = Wire(fills=["1"])
    wire.open("x = \n")
    assert (await wire.ask("textDocument/inlineCompletion", {}))["error"]["code"] == NOT_INITIALIZED
    assert (await wire.ask("shutdown"))["error"]["code"] == NOT_INITIALIZED
    await wire.start()
    assert wire.session.documents.get(URI) is None
    assert (await wire.ask("initialize", {"capabilities": {}}))["error"]["code"] == INVALID_REQUEST
    await works(wire)


async def test_after_shutdown_there_is_nothing_but_a_refusal() -> None:
    wire = Wire()
    await wire.start()
    assert (await wire.ask("shutdown"))["result"] is None
    assert (await wire.ask("shutdown"))["error"]["code"] == INVALID_REQUEST
    assert (await wire.ask("lacuna/status"))["error"]["code"] == INVALID_REQUEST
    wire.open("x")
    assert wire.session.documents.get(URI) is None


async def test_files_are_read_until_shutdown_and_no_longer(tmp_path: Path) -> None:
    wire = Wire()
    await wire.start(rootUri=tmp_path.as_uri())
    uri, session = (tmp_path / "a.py").as_uri(), wire.session
    wire.open("x = \n", uri)

    def read(name: str) -> list[str]:
        (tmp_path / name).write_text("y = 1\n")
        session.saved()
        session.surroundings(uri)
        session.nearby.wait(10)
        return [one.uri.rpartition("/")[2] for one in session.surroundings(uri).nearby]

    assert read("b.py") == ["b.py"]
    await wire.ask("shutdown")
    assert read("c.py") == ["b.py"]


async def test_a_handler_that_raises_is_an_error_answer() -> None:
    wire = Wire(fills=["1"])

    @wire.server.feature("test/raises")
    def raises(_: Any) -> None:
        raise RuntimeError("broken")

    @wire.server.feature("test/raisesLater")
    async def raises_later(_: Any) -> None:
        raise RuntimeError("broken")

    await wire.start()
    for method in ("test/raises", "test/raisesLater"):
        assert "error" in await wire.ask(method, {})
    await works(wire)


async def test_shutdown_answers_what_was_in_flight() -> None:
    wire = Wire(hold=True)
    await wire.start()
    wire.open("x = \n")
    place = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 4}, "context": {"triggerKind": 1}}
    wire.raw({"id": "held", "method": "textDocument/inlineCompletion", "params": place})
    await wire.settle()
    assert len(wire.client.requests) == 1
    await wire.ask("shutdown")
    await wire.until(lambda: any(message.get("id") == "held" for message in wire.told))


async def test_a_document_opened_twice_is_the_second() -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("old = \n" * 3)
    await wire.complete(0, 6)
    wire.open("fresh = \n", version=1)
    assert len(await wire.complete(0, 8)) == 1
    assert getattr(wire.client.requests[-1].segments[0], "text") == "fresh = "  # noqa: B009


@pytest.mark.parametrize("versions", [(2, 3), (5, 2), (1, 1), (None, None), (7, None)])
async def test_changes_apply_in_their_order_whatever_their_versions_say(
    versions: tuple[int | None, int | None],
) -> None:
    wire = Wire()
    await wire.start()
    wire.open("x", version=1)
    at = {"line": 0, "character": 0}
    for letter, version in zip("ab", versions, strict=True):
        changes = [{"range": {"start": at, "end": at}, "text": letter}]
        wire.send(
            "textDocument/didChange", {"textDocument": {"uri": URI, "version": version}, "contentChanges": changes}
        )
    document = wire.session.documents.get(URI)
    assert document
    assert document.text == "bax"
    assert wire.session.documents.is_latest(document)


async def test_a_document_too_large_to_be_read_is_not_followed_until_it_comes_as_a_whole() -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("x = \n" + "y" * MAX_CHARACTERS)
    huge = wire.session.documents.get(URI)
    at = {"line": 0, "character": 0}
    small = {"range": {"start": at, "end": at}, "text": "a"}
    document = {"uri": URI, "version": 2}
    wire.send("textDocument/didChange", {"textDocument": document, "contentChanges": [small]})
    assert wire.session.documents.get(URI) is huge
    assert await wire.complete(0, 4) == []
    changes = [small, {"text": "hidden"}, {"text": "x = \n"}, small | {"text": "y"}]
    wire.send("textDocument/didChange", {"textDocument": document, "contentChanges": changes})
    assert getattr(wire.session.documents.get(URI), "text", "") == "yx = \n"
    assert len(await wire.complete(0, 5)) == 1


UNITS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
WIDTHS = {"utf-8": 1, "utf-16": 2, "utf-32": 4}
PIECES = ["a", "\n", "\r\n", "é", "🎉", "\u2028", "\t", "\f", "\v", "\x85", "x = ", "日本", "e\u0301", "\n\n", ""]


def position(text: str, offset: int, encoding: str) -> dict[str, int]:
    """The specification's words as code: lines end with LF or CRLF here, characters count units of the encoding."""
    lines = text[:offset].split("\n")
    return {"line": len(lines) - 1, "character": len(lines[-1].encode(UNITS[encoding])) // WIDTHS[encoding]}


def place(text: str, random: Random) -> int:
    """An offset that a position can name: none between CR and LF."""
    offset = random.randint(0, len(text))
    return offset - 1 if text[offset - 1 : offset + 1] == "\r\n" else offset


@pytest.mark.parametrize("encoding", UNITS)
async def test_the_text_is_the_editor_s_after_any_edits_in_any_encoding(encoding: str) -> None:
    wire, random = Wire(), Random(encoding)
    result = await wire.start({"general": {"positionEncodings": [encoding]}})
    assert result["capabilities"]["positionEncoding"] == encoding
    text = "🎉 = 1\r\nprint(🎉)\n"
    wire.open(text)
    for version in range(2, 702):
        changes = []
        for _ in range(random.choice([1, 1, 1, 2, 3])):
            start, end = sorted((place(text, random), place(text, random)))
            if random.random() < 0.7 or end - start > 20:
                end = start
            new = "".join(random.choices(PIECES, k=random.randint(0, 3)))
            if new.startswith("\n") and text[:start].endswith("\r"):
                new = ""
            span = {"start": position(text, start, encoding), "end": position(text, end, encoding)}
            changes.append({"range": span, "text": new})
            text = text[:start] + new + text[end:]
        if version % 100 == 0:
            text = text[:60].rstrip("\r")
            changes = [{"text": text}]
        document = {"uri": URI, "version": version}
        wire.send("textDocument/didChange", {"textDocument": document, "contentChanges": changes})
        assert getattr(wire.session.documents.get(URI), "text", None) == text, f"parted at version {version}"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(None, "utf-16"), ([], "utf-16"), (["utf-7"], "utf-16"), (["utf-7", "utf-32"], "utf-32"), (["utf-8"], "utf-8")],
)
async def test_the_editor_s_order_of_encodings_decides(offered: list[str] | None, chosen: str) -> None:
    wire = Wire()
    result = await wire.start({"general": {"positionEncodings": offered}} if offered is not None else {})
    assert result["capabilities"]["positionEncoding"] == wire.session.encoding == chosen


async def test_a_document_without_a_version_is_opened() -> None:
    wire = Wire()
    await wire.start()
    item = {"uri": URI, "languageId": "python", "version": None, "text": "x"}
    wire.send("textDocument/didOpen", {"textDocument": item})
    assert wire.session.documents.get(URI)


async def test_a_change_of_a_closed_document_is_ignored() -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("x")
    for _ in range(2):
        wire.send("textDocument/didClose", {"textDocument": {"uri": URI}})
    wire.send("textDocument/didChange", {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"text": "y"}]})
    assert wire.session.documents.get(URI) is None
    assert wire.named("window/showMessage") == []
    await works(wire)


async def test_a_change_that_cannot_be_read_forgets_the_document_until_it_is_opened_again() -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("x = \n")
    wire.send("textDocument/didChange", {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"range": 1}]})
    assert await wire.complete(0, 4) == [], "its text is not known any more"
    wire.open("x = \n")
    assert len(await wire.complete(0, 4)) == 1


@pytest.mark.parametrize(
    "uri",
    [
        *("untitled:Untitled-1", "file:///c%3A/Users/a%20b.py", "file:///C:/a.py", "", "no uri", "ü%zz"),
        *("vscode-notebook-cell:/a.ipynb#1", "file:///" + "a" * 5000),
    ],
)
async def test_any_uri_of_what_is_written_is_a_document(uri: str) -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("x = \n", uri)
    assert len(await wire.complete(0, 4, uri)) == 1
    wire.send("textDocument/didClose", {"textDocument": {"uri": uri}})
    assert wire.session.documents.get(uri) is None


@pytest.mark.parametrize("uri", ["vscode-remote://ssh%2Bhost/a.py", "git:/a.py?HEAD", "output:extension"])
async def test_what_is_shown_and_not_written_gets_nothing_and_the_status_says_why(uri: str) -> None:
    wire = Wire(fills=["1"])
    await wire.start()
    wire.open("x = \n", uri)
    assert await wire.complete(0, 4, uri) == []
    status = wire.named("lacuna/status")[-1]
    assert status["state"] == "excluded"
    assert status["inactive"]["uri"] == uri
    assert "shown, not written" in status["inactive"]["reason"]
    wire.send("textDocument/didClose", {"textDocument": {"uri": uri}})
    assert wire.session.documents.get(uri) is None


async def test_a_root_that_is_no_uri_is_no_reason_to_fail() -> None:
    wire = Wire(fills=["1"])
    await wire.start(rootUri="http://[half", workspaceFolders=[{"uri": "file://[half", "name": "a"}])
    await works(wire)


async def test_the_trace_is_told_as_far_as_it_is_wanted() -> None:
    wire = Wire(fills=["1"])
    await wire.start(trace="messages")
    wire.open("x = \n")
    await wire.complete(0, 4)
    (first,) = wire.named("$/logTrace")
    assert "by the model" in first["message"]
    assert "verbose" not in first
    wire.send("$/setTrace", {"value": "verbose"})
    await wire.complete(0, 4)
    assert '"items": 1' in wire.named("$/logTrace")[-1]["verbose"]
    wire.send("$/setTrace", {"value": "off"})
    await wire.complete(0, 4)
    assert len(wire.named("$/logTrace")) == 2
