"""The routes, their checks and their errors, on the ASGI application; connections that close are in test_worker.py."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from inference import protocol
from inference.protocol import MAX_BODY_BYTES, ErrorBody, ErrorCode, InfillResult, decode
from tests.support.fake_engine import Gate, Script
from tests.support.served import TOKEN, served

SCHEMA = json.loads((Path(protocol.__file__).parent / "protocol.schema.json").read_text())
GAP = {"prefix": "def f(", "suffix": "):\n"}

Serve = Callable[..., httpx.AsyncClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Make a client of an application around an engine."""
    with served() as serve:
        yield serve


def check(answer: httpx.Response, status: int, code: ErrorCode, sentence: str = "") -> None:
    assert answer.status_code == status
    detail = decode(ErrorBody, answer.json()).error
    jsonschema.validate(answer.json(), {"$ref": "#/$defs/ErrorBody", "$defs": SCHEMA["$defs"]})
    assert detail.code is code
    assert sentence in detail.message


async def test_it_answers_with_a_result(serve: Serve) -> None:
    answer = await serve().post("/v1/infill", json=GAP)
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), {"$ref": "#/$defs/InfillResult", "$defs": SCHEMA["$defs"]})
    assert decode(InfillResult, answer.json()).choices[0].fills[0].text == "filled"


async def test_it_streams_drafts_then_the_result(serve: Serve) -> None:
    answer = await serve(Script(text="a\u2028b\x85c\n\ud800")).post("/v1/infill", json=GAP | {"stream": True})
    assert answer.headers["content-type"] == "text/event-stream"
    names = [line.removeprefix("event: ") for line in answer.text.split("\n") if line.startswith("event: ")]
    assert names[-1] == "result"
    assert set(names[:-1]) <= {"draft"}
    last = json.loads(answer.text.rstrip("\n").rpartition("data: ")[2])
    assert last["choices"][0]["fills"][0]["text"] == "a\u2028b\x85c\n\ud800"


async def test_a_stream_tells_its_failure_as_an_event(serve: Serve) -> None:
    answer = await serve(Script(fail="out_of_memory")).post("/v1/infill", json=GAP | {"stream": True})
    assert answer.status_code == 200
    assert answer.text.rstrip("\n").split("\n")[-2:] == [
        "event: error",
        'data: {"error":{"code":"out_of_memory","message":"the script says so"}}',
    ]


@pytest.mark.parametrize("code", [ErrorCode.BAD_REQUEST, ErrorCode.INTERNAL, ErrorCode.OUT_OF_MEMORY])
async def test_an_engine_error_has_its_status(serve: Serve, code: ErrorCode) -> None:
    answer = await serve(Script(fail=code)).post("/v1/infill", json=GAP)
    check(answer, protocol.HTTP_STATUS[code], code, "the script says so")


async def test_health_and_models(serve: Serve) -> None:
    client = serve()
    health = (await client.get("/health")).json()
    jsonschema.validate(health, {"$ref": "#/$defs/Health", "$defs": SCHEMA["$defs"]})
    assert (health["state"], health["model"], health["device"]) == ("ready", "fake-model", "cpu")
    models = (await client.get("/v1/models")).json()
    model = {"id": "fake-model", "object": "model", "owned_by": "lacuna", "capabilities": ["infill", "edit"]}
    assert models == {"object": "list", "data": [model]}


async def test_a_model_that_takes_instructions_says_so(serve: Serve) -> None:
    client = serve(Script(instructions=True))
    assert (await client.get("/health")).json()["instructions"] is True
    models = (await client.get("/v1/models")).json()
    assert models["data"][0]["capabilities"] == ["infill", "edit", "instructions"]


async def test_it_edits(serve: Serve) -> None:
    answer = await serve(Script(text="b")).post("/v1/edit", json={"selection": "a", "prefix": "x = ", "strength": 1})
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), {"$ref": "#/$defs/InfillResult", "$defs": SCHEMA["$defs"]})
    assert decode(InfillResult, answer.json()).choices[0].fills[0].text == "b"


async def test_an_edit_streams_too(serve: Serve) -> None:
    answer = await serve().post("/v1/edit", json={"selection": "a", "stream": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.startswith("event: ")
    assert "event: result\n" in answer.text


async def test_an_instruction_needs_a_model_that_takes_it(serve: Serve) -> None:
    body = {"selection": "a", "instruction": "shorter"}
    assert (await serve(Script(instructions=True)).post("/v1/edit", json=body)).status_code == 200
    refused = await serve().post("/v1/edit", json=body)
    check(refused, 400, ErrorCode.BAD_REQUEST, "fake-model takes no instructions; leave 'instruction' empty or load")


async def test_an_infill_and_an_edit_of_one_document_meet(serve: Serve) -> None:
    gate = Gate()
    client = serve(on_step=gate)
    infill = asyncio.create_task(client.post("/v1/infill", json=GAP | {"document": "d"}))
    await asyncio.to_thread(gate.reached.wait, 30.0)
    edit = asyncio.create_task(client.post("/v1/edit", json={"selection": "a", "document": "d"}))
    check(await asyncio.wait_for(infill, 30.0), 409, ErrorCode.SUPERSEDED)
    gate.opened.set()
    assert (await edit).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/infill", "/nowhere"])
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer é"])
async def test_no_path_without_the_token(serve: Serve, path: str, given: str | None) -> None:
    client = serve()
    del client.headers["authorization"]
    headers = [] if given is None else [(b"authorization", given.encode())]
    check(await client.get(path, headers=headers), 401, ErrorCode.UNAUTHORIZED)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", "[::2]:1", ""])
async def test_on_tcp_the_host_must_be_this_machine(serve: Serve, host: str) -> None:
    check(await serve(loopback_only=True).get("/health", headers={"host": host}), 401, ErrorCode.UNAUTHORIZED)


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost:1", "[::1]:8123"])
async def test_on_tcp_this_machine_may_come_in(serve: Serve, host: str) -> None:
    assert (await serve(loopback_only=True).get("/health", headers={"host": host})).status_code == 200


async def test_on_tcp_a_web_page_is_refused_even_with_the_token(serve: Serve) -> None:
    answer = await serve(loopback_only=True).get("/health", headers={"origin": "http://127.0.0.1:8123"})
    check(answer, 401, ErrorCode.UNAUTHORIZED, "web pages")
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"\xff", "UTF-8 at byte 0"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"prefix": ' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b"[]", "must be an object"),
        (b"{}", "'prefix' is missing"),
        (b'{"prefix": "a", "colour": 1}', "unknown fields in 'InfillRequest': 'colour'"),
        (b'{"prefix": "\\ud800"}', "lone surrogate"),
        (b'{"prefix": "a", "n": 0}', "'n' must be between 1 and 8"),
        (b'{"prefix": "a", "deadline_ms": NaN}', "'deadline_ms' must be an integer"),
        (b'{"segments": [{"type": "fixed", "text": "a"}]}', "at least one masked segment"),
    ],
)
async def test_a_body_that_is_wrong_is_told_how(serve: Serve, body: bytes, sentence: str) -> None:
    check(await serve().post("/v1/infill", content=body), 400, ErrorCode.BAD_REQUEST, sentence)


async def test_a_body_at_the_limit_is_read_and_one_beyond_is_not(serve: Serve) -> None:
    client = serve()
    frame = len(b'{"prefix": ""}')
    fits = b'{"prefix": "' + b"a" * (MAX_BODY_BYTES - frame) + b'"}'
    assert (await client.post("/v1/infill", content=fits)).status_code == 200
    check(await client.post("/v1/infill", content=fits + b" "), 413, ErrorCode.TOO_LARGE)


async def test_an_endless_body_is_given_up_at_the_limit(serve: Serve) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    check(await serve().post("/v1/infill", content=endless()), 413, ErrorCode.TOO_LARGE)
    assert sent <= MAX_BODY_BYTES + 2 * 65_536


async def test_a_body_that_never_comes_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.body.BODY_LIMIT_S", 0.05)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    check(await serve().post("/v1/infill", content=stuck()), 400, ErrorCode.BAD_REQUEST, "did not arrive within")


async def test_unknown_paths_and_methods(serve: Serve) -> None:
    client = serve()
    check(await client.get("/nowhere"), 404, ErrorCode.NOT_FOUND)
    check(await client.get("/health/"), 404, ErrorCode.NOT_FOUND)
    check(await client.get("/v1/infill"), 405, ErrorCode.BAD_REQUEST, "GET")
    check(await client.post("/health"), 405, ErrorCode.BAD_REQUEST, "POST")


async def test_while_loading_it_says_so(serve: Serve) -> None:
    client = serve(Script(load_s=20.0), wait=False)
    for _ in range(1000):
        if (await client.get("/health")).json()["message"] == "reading weights":
            break
    check(await client.post("/v1/infill", json=GAP), 503, ErrorCode.NOT_READY, "reading weights")


async def test_after_a_failed_load_it_says_why(serve: Serve) -> None:
    client = serve(Script(fail_load="no weights in there; fetch them"))
    health = (await client.get("/health")).json()
    assert (health["state"], health["message"]) == ("error", "no weights in there; fetch them")
    check(await client.post("/v1/infill", json=GAP), 503, ErrorCode.NOT_READY, "no weights in there")


async def test_what_nobody_foresaw_is_told_in_general_words(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(body: object) -> None:
        raise RuntimeError(f"about {body}")

    monkeypatch.setattr("inference.app.infill_request", fail)
    with caplog.at_level(logging.INFO):
        check(await serve().post("/v1/infill", json=GAP), 500, ErrorCode.INTERNAL, "its log says where")
    assert "RuntimeError" in caplog.text
    assert "def f(" not in caplog.text


async def test_a_full_queue_says_when_to_come_back(serve: Serve) -> None:
    gate = Gate()
    client = serve(on_step=gate)
    running = asyncio.create_task(client.post("/v1/infill", json=GAP))
    await asyncio.to_thread(gate.reached.wait, 30.0)
    waiting = [asyncio.create_task(client.post("/v1/infill", json=GAP)) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=30.0)
    refused = done.pop().result()
    check(refused, 429, ErrorCode.QUEUE_FULL, "2 requests are waiting")
    assert refused.headers["retry-after"] == "1"  # nobody knows the pace yet
    late = await client.post("/v1/infill", json=GAP)
    assert late.status_code == 429
    gate.opened.set()
    answers = await asyncio.gather(running, *waiting)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429]


async def test_a_deadline_in_the_queue_is_answered_when_it_passes(serve: Serve) -> None:
    gate = Gate()
    client = serve(on_step=gate)
    running = asyncio.create_task(client.post("/v1/infill", json=GAP))
    await asyncio.to_thread(gate.reached.wait, 30.0)
    answer = await asyncio.wait_for(client.post("/v1/infill", json=GAP | {"deadline_ms": 20}), 30.0)
    check(answer, 429, ErrorCode.QUEUE_FULL, "20 ms passed in the queue")
    gate.opened.set()
    assert (await running).status_code == 200


async def test_the_superseded_request_is_answered(serve: Serve) -> None:
    gate = Gate()
    client = serve(on_step=gate)
    body: dict[str, Any] = GAP | {"document": "d"}
    older = asyncio.create_task(client.post("/v1/infill", json=body))
    await asyncio.to_thread(gate.reached.wait, 30.0)
    newer = asyncio.create_task(client.post("/v1/infill", json=body))
    check(await asyncio.wait_for(older, 30.0), 409, ErrorCode.SUPERSEDED)
    gate.opened.set()
    assert (await newer).status_code == 200
