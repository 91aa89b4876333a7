"""The way of the stock 26B, from the command line to the answer: a checkpoint with a chat template, only tiny."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference.protocol import InfillResult, decode
from tests.support.tiny_checkpoint import write_tiny_chat_checkpoint
from tests.support.worker_room import WorkerRoom, endpoint_is_there, room_in, wait_until

pytestmark = pytest.mark.e2e

PREFIX, SUFFIX = "def f(x):\n    ", "\nprint(f(1))\n"
GAP = {"prefix": PREFIX, "suffix": SUFFIX, "seed": 1}
EDIT = {"prefix": PREFIX, "selection": "return x + x", "suffix": SUFFIX, "instruction": "double it", "seed": 1}
LIMIT_S = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_chat_checkpoint(tmp_path_factory.mktemp("made") / "chat")


@pytest.fixture(scope="module")
def running(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Address and token of a worker that was started in the foreground."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for room in room_in(tmp_path_factory.mktemp("room"), monkeypatch):
            yield from _run(room, model)


def _run(room: WorkerRoom, model: Path) -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "lsp_server", "worker", "run", "--device", "cpu", "--model", str(model)]
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(map(endpoint_is_there, room.runtime.glob("*.json"))), LIMIT_S)
        yield json.loads(next(room.runtime.glob("*.json")).read_text())
    finally:
        worker.terminate()
        worker.wait(LIMIT_S)


@asynccontextmanager
async def client_of(endpoint: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=endpoint["address"].removeprefix("unix:")),
        base_url="http://localhost",
        headers={"authorization": f"Bearer {endpoint['token']}"},
        timeout=LIMIT_S,
    ) as client:
        while (await client.get("/health")).json()["state"] not in ("ready", "error"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        yield client


async def ask(endpoint: dict[str, str], path: str, **body: Any) -> tuple[InfillResult, list[str]]:
    """The result, and the names of the events that came before it; streamed and whole it is the same."""
    async with client_of(endpoint) as client:
        whole = await client.post(path, json=body)
        streamed = await client.post(path, json=body | {"stream": True})
    assert (whole.status_code, streamed.status_code) == (200, 200), whole.text
    result = decode(InfillResult, whole.json())
    *drafts, last = [dict(line.split(": ", 1) for line in event.split("\n")) for event in _events(streamed.text)]
    assert last["event"] == "result"
    assert decode(InfillResult, json.loads(last["data"])).choices == result.choices
    assert 1 <= len(result.choices) <= body.get("n", 1)
    return result, [draft["event"] for draft in drafts]


def _events(body: str) -> list[str]:
    return body.strip().split("\n\n")


async def test_it_says_what_it_can_do(running: dict[str, str]) -> None:
    async with client_of(running) as client:
        health = (await client.get("/health")).json()
        (model,) = (await client.get("/v1/models")).json()["data"]
    assert (health["state"], health["model"], health["instructions"]) == ("ready", "chat", True)
    assert model["capabilities"] == ["infill", "edit", "instructions"]


@pytest.mark.parametrize("n", [1, 3])
async def test_one_gap(running: dict[str, str], n: int) -> None:
    result, drafts = await ask(running, "/v1/infill", **GAP, max_tokens=12, n=n)
    assert len(result.choices) == n
    assert all(choice.fills[0].text for choice in result.choices)
    assert set(drafts) == {"draft"}
    assert result.usage.prompt_tokens > 200, "the instructions stand in the prompt"


async def test_three_gaps_of_which_one_has_no_room_beside_the_others(running: dict[str, str]) -> None:
    gaps = [{"type": "masked", "max_tokens": length} for length in (4, 30, 4)]
    fixed = [{"type": "fixed", "text": text} for text in ("a = ", "\nb = ", "\nc = ", "\n")]
    segments = [fixed[0], gaps[0], fixed[1], gaps[1], fixed[2], gaps[2], fixed[3]]
    result, _ = await ask(running, "/v1/infill", segments=segments, seed=1)
    assert len(result.choices[0].fills) == 3
    assert all(fill.text for fill in result.choices[0].fills)


async def test_a_gap_longer_than_a_canvas_goes_on_in_the_next(running: dict[str, str]) -> None:
    """32 positions a canvas: ten of them for 300 tokens."""
    result, drafts = await ask(running, "/v1/infill", **GAP, max_tokens=300)
    shorter, _ = await ask(running, "/v1/infill", **GAP, max_tokens=12)
    assert len(drafts) > 9
    assert result.usage.denoising_steps > 9
    assert len(result.choices[0].fills[0].text) > 10 * len(shorter.choices[0].fills[0].text)


@pytest.mark.parametrize("thinking", [False, True])
async def test_an_edit_by_instruction(running: dict[str, str], thinking: bool) -> None:
    result, drafts = await ask(running, "/v1/edit", **EDIT, thinking=thinking)
    text = result.choices[0].fills[0].text
    assert text not in ("", EDIT["selection"])
    assert set(drafts) == {"draft"}
    canvases = result.usage.canvas_tokens / 32
    assert canvases > 16 if thinking else canvases < 4, "512 tokens of thought come first"


async def test_an_edit_whose_time_is_up_while_it_thinks_leaves_the_selection(running: dict[str, str]) -> None:
    async with client_of(running) as client:
        answer = await client.post("/v1/edit", json=EDIT | {"thinking": True, "deadline_ms": 100})
    (choice,) = answer.json()["choices"]
    assert (choice["fills"], choice["finish_reason"]) == ([{"text": EDIT["selection"]}], "deadline")


async def test_what_was_typed_and_is_taken_back_starts_warm(running: dict[str, str]) -> None:
    typed = {"prefix": GAP["prefix"] + " ", "max_tokens": 4, "document": "a"}
    async with client_of(running) as client:
        bodies = [GAP | {"max_tokens": 12}, GAP | typed, GAP | {"max_tokens": 12, "document": "a"}]
        cold, _, warm = [(await client.post("/v1/infill", json=body)).json()["usage"] for body in bodies]
    assert cold["warm_tokens"] == 0 < warm["warm_tokens"]
    assert warm["cached_tokens"] == warm["prompt_tokens"]
    assert warm["canvas_tokens"] < cold["canvas_tokens"], "only the lengths near the one that was right"
