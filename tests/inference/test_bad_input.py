"""What a stranger may send to a worker: through a real socket, and afterwards the worker still answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from inference.protocol import MAX_BODY_BYTES, MAX_GAP_TOKENS
from tests.support.fake_engine import Script, names_in
from tests.support.worker_process import Process
from tests.support.worker_room import PATIENCE_S, WorkerRoom, room_in, wait_until

GAP = {"prefix": "def f(", "suffix": "):\n"}
EDIT = {"selection": "x"}
PATHS = ["/v1/infill", "/v1/edit"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One worker for all that is refused or answered at once; what it is left like is checked after each test."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for room in room_in(tmp_path_factory.mktemp("room"), monkeypatch):
            yield Process(room)


@pytest.fixture
async def worker(shared: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with shared.ready() as client:
        yield client
        assert (await client.post("/v1/infill", json=GAP)).status_code == 200
    assert "Traceback" not in shared.log()


@pytest.fixture
def room(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path_factory.mktemp("room"), monkeypatch)


ACCEPTED: dict[str, dict[str, Any]] = {
    "empty prefix": {"prefix": "", "suffix": "b"},
    "empty suffix": {"prefix": "a", "suffix": ""},
    "nothing but a gap": {"segments": [{"type": "masked", "max_tokens": 1}]},
    "a gap of 10,000 tokens": GAP | {"max_tokens": 10_000},
    "a gap as large as may be": GAP | {"max_tokens": MAX_GAP_TOKENS},
    "a prompt far longer than any context": {"prefix": "x = 1\n" * 500_000, "suffix": "y = 2\n" * 500_000},
    "NUL characters": {"prefix": "a\0", "suffix": "\0b", "document": "\0"},
    "text outside the basic plane": {"prefix": "\U0001f600", "suffix": "\u202e\ufeff\uffff"},
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
async def test_unusual_and_answered(worker: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await worker.post("/v1/infill", json=body)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["fills"][0]["text"] == "filled"


NESTED = b'{"prefix": ' + b"[" * 400 + b"]" * 400 + b"}"
REFUSED_ANYWHERE: list[tuple[bytes, str]] = [
    (b"", "not valid JSON"),
    (b"null", "must be an object, not null"),
    (b"\xff{}", "not valid UTF-8 at byte 0"),
    (b'{"prefix": "\xc3("}', "not valid UTF-8 at byte 12"),
    (b'{"prefix": "\xed\xa0\x80"}', "not valid UTF-8"),
    (b'{"prefix": "a\x00b"}', "not valid JSON"),
    (b'{"prefix": "a"', "not valid JSON"),
    (b"[" * 1_000_000, "not valid JSON"),
    (b'{"a":' * 100_000, "not valid JSON"),
    (NESTED, "'prefix' must be a string, not a list"),
]
REFUSED: list[tuple[str, bytes, str]] = [
    *((path, body, sentence) for path in PATHS for body, sentence in REFUSED_ANYWHERE if body is not NESTED),
    ("/v1/infill", NESTED, "'prefix' must be a string, not a list"),
    ("/v1/infill", b'{"prefix": "", "max_tokens": 0}', "'max_tokens' must be between 1 and 16384, not 0"),
    ("/v1/infill", b'{"prefix": "", "max_tokens": 16385}', "'max_tokens' must be between 1 and 16384, not 16385"),
    ("/v1/infill", b'{"prefix": "", "max_tokens": -1e400}', "'max_tokens' must be an integer"),
    ("/v1/infill", b'{"prefix": "\\ud800"}', "'text' holds a lone surrogate, which is not text; send valid Unicode"),
    ("/v1/infill", b'{"prefix": "", "suffix": "\\udc00\\ud800"}', "lone surrogate"),
    ("/v1/infill", b'{"prefix": "", "document": "\\ud800"}', "'document' holds a lone surrogate"),
    ("/v1/infill", b'{"prefix": "", "\\ud800": 1}', "unknown fields in 'InfillRequest': '\\ud800'"),
    ("/v1/infill", b'{"prefix": "", "colour": 1}', "unknown fields in 'InfillRequest': 'colour'"),
    ("/v1/infill", b'{"prefix": ["a"]}', "'prefix' must be a string, not a list"),
    ("/v1/infill", b'{"prefix": "", "seed": "7"}', "'seed' must be an integer, not a string"),
    ("/v1/infill", b'{"prefix": "", "stream": 1}', "'stream' must be true or false, not an integer"),
    ("/v1/infill", b'{"prefix": "", "n": NaN}', "'n' must be an integer, not a number"),
    ("/v1/infill", b'{"segments": [{"type": "fixed", "text": "a"}]}', "at least one masked segment"),
    ("/v1/infill", b'{"segments": [{"type": "masked", "max_tokens": 0}]}', "must be between 1 and 16384, not 0"),
    ("/v1/edit", b"{}", "'selection' is missing"),
    ("/v1/edit", b'{"selection": ""}', "'selection' is empty; ask for an infill instead"),
    ("/v1/edit", b'{"selection": "\\udfff"}', "'selection' holds a lone surrogate"),
    ("/v1/edit", b'{"selection": "a", "strength": NaN}', "'strength' must be between 0 and 1, not nan"),
    ("/v1/edit", b'{"selection": "a", "strength": 1' + b"0" * 400 + b"}", "'strength' is too large a number"),
    ("/v1/edit", b'{"selection": "a", "instruction": "shorter"}', "takes no instructions; leave 'instruction' empty"),
]


@pytest.mark.parametrize(("path", "body", "sentence"), REFUSED, ids=[f"{path} {tells}" for path, _, tells in REFUSED])
async def test_refused_in_one_sentence(worker: httpx.AsyncClient, path: str, body: bytes, sentence: str) -> None:
    answer = await worker.post(path, content=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad_request")
    assert sentence in error["message"]
    assert len(error["message"]) < 200
    assert "\n" not in error["message"]


# --- below HTTP: what httpx would not send --------------------------------------------------------------------------


@asynccontextmanager
async def connection(process: Process) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    path = process.endpoint.address.removeprefix("unix:")
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            yield reader, writer
        finally:
            writer.close()


def head(process: Process, *headers: str, path: str = "/v1/infill") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {process.endpoint.token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def status(reader: asyncio.StreamReader) -> int:
    return int((await reader.readline()).split()[1])


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(
    worker: httpx.AsyncClient, shared: Process, path: str
) -> None:
    async with connection(shared) as (reader, writer):
        writer.write(head(shared, f"Content-Length: {MAX_BODY_BYTES + 1}", path=path))
        assert await status(reader) == 413


async def test_a_body_that_grows_too_large_is_refused_on_the_way(worker: httpx.AsyncClient, shared: Process) -> None:
    async with connection(shared) as (reader, writer):
        writer.write(head(shared, "Transfer-Encoding: chunked"))
        answered = asyncio.create_task(status(reader))
        sent, chunk = 0, b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        while not answered.done() and sent < 4 * MAX_BODY_BYTES:
            writer.write(chunk)
            try:
                await writer.drain()
            except ConnectionError:
                break
            sent += 0x10000
        assert await answered == 413
        assert sent < 2 * MAX_BODY_BYTES


@pytest.mark.parametrize("length", ["abc", "-1", "1, 2", "1" * 5000])
async def test_a_content_length_that_is_none(worker: httpx.AsyncClient, shared: Process, length: str) -> None:
    async with connection(shared) as (reader, writer):
        writer.write(head(shared, f"Content-Length: {length}"))
        assert await status(reader) in (400, 413)


async def test_a_body_longer_than_announced(worker: httpx.AsyncClient, shared: Process) -> None:
    body = json.dumps(GAP).encode()
    async with connection(shared) as (reader, writer):
        writer.write(head(shared, f"Content-Length: {len(body) - 2}") + body)
        assert await status(reader) == 400  # what was announced is not JSON


async def test_a_body_shorter_than_announced(worker: httpx.AsyncClient, shared: Process) -> None:
    body = json.dumps(GAP | {"document": "short"}).encode()
    async with connection(shared) as (reader, writer):
        writer.write(head(shared, f"Content-Length: {len(body) + 1}") + body)
        writer.write_eof()
        assert await reader.read() == b""
    assert "short" not in names_in(shared.room.folder, "begun")


# --- clients that vanish, crowd or quarrel --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_vanishes_is_abandoned_within_a_step(room: WorkerRoom, path: str, stream: bool) -> None:
    room.play(Script(steps=1000, step_s=0.1, room=2))
    process = Process(room)
    body = (GAP if path == "/v1/infill" else EDIT) | {"document": "d", "stream": stream}
    async with process.ready() as client:
        async with connection(process) as (reader, writer):
            content = json.dumps(body).encode()
            writer.write(head(process, f"Content-Length: {len(content)}", path=path) + content)
            await asyncio.to_thread(wait_until, lambda: room.steps_run() >= 2)
            if stream:
                assert await status(reader) == 200
        steps = room.steps_run()
        await asyncio.to_thread(wait_until, lambda: names_in(room.folder, "abandoned") == ["d"])
        # One step was under way, one may have begun while the closing was on its way.
        assert room.steps_run() <= steps + 2
        room.play(Script())
        assert (await client.post("/v1/infill", json=GAP)).status_code == 200


async def test_a_client_that_vanishes_before_its_body_is_there(worker: httpx.AsyncClient, shared: Process) -> None:
    async with connection(shared) as (_, writer):
        writer.write(head(shared, "Content-Length: 100") + b'{"prefix": ')


async def test_two_hundred_at_once_get_one_answer_each(room: WorkerRoom) -> None:
    room.play(Script(steps=2, step_s=0.03, room=4))
    process = Process(room)
    async with process.ready():
        pass
    clients = [process.client() for _ in range(4)]
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(
            *(
                clients[i % 4].post(
                    PATHS[i % 2], json=(GAP, EDIT)[i % 2] | {"stream": i % 3 == 0, "client": str(i % 4)}
                )
                for i in range(200)
            )
        )
    for client in clients:
        await client.aclose()
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert 0 < len(refused) < 200
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    streamed = [a for a in answers if a.status_code == 200 and "event-stream" in a.headers["content-type"]]
    assert all(answer.text.count("event: result\n") == 1 for answer in streamed)
    assert len(names_in(room.folder, "begun")) == len(answers) - len(refused)


async def test_of_two_requests_for_one_document_the_newer_wins(room: WorkerRoom) -> None:
    room.play(Script(steps=1000, step_s=0.02))
    process = Process(room)
    async with process.ready() as client:
        older = asyncio.create_task(client.post("/v1/infill", json=GAP | {"document": "d"}))
        await asyncio.to_thread(wait_until, lambda: room.steps_run() >= 1)
        room.play(Script(text="newer"))
        newer = await client.post("/v1/infill", json=GAP | {"document": "d"})
        assert newer.json()["choices"][0]["fills"][0]["text"] == "newer"
        assert ((await older).status_code, (await older).json()["error"]["code"]) == (409, "superseded")
