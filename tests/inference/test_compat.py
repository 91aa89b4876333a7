"""Other servers' forms: requests as their documentation writes them, answers as their clients read them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from inference.protocol import MAX_GAP_TOKENS, Fixed, InfillRequest, Masked
from tests.support.fake_engine import FakeEngine, FakeFilling, Script
from tests.support.served import served

LLAMA, OPENAI, MISTRAL = "/infill", "/v1/completions", "/v1/fim/completions"
PATHS = [LLAMA, OPENAI, MISTRAL]
BODIES: dict[str, dict[str, Any]] = {
    LLAMA: {"input_prefix": "def f(", "input_suffix": "):\n"},
    OPENAI: {"model": "any", "prompt": "def f(", "suffix": "):\n"},
    MISTRAL: {"model": "codestral-latest", "prompt": "def f(", "suffix": "):\n"},
}


class Spy(FakeEngine):
    """Keeps the requests it was asked."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.asked: list[InfillRequest] = []

    def begin(self, request: Any, **options: Any) -> FakeFilling:
        self.asked.append(request)
        return super().begin(request, **options)


class Room:
    """Asks an engine in another server's form."""

    def __init__(self, client: httpx.AsyncClient, engine: Spy) -> None:
        self.client = client
        self.engine = engine

    async def whole(self, path: str, **options: Any) -> dict[str, Any]:
        answer = await self.client.post(path, json=BODIES[path] | options)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        body: dict[str, Any] = answer.json()
        return body

    async def streamed(self, path: str, **options: Any) -> list[str]:
        """The data of each event; there are no other lines."""
        answer = await self.client.post(path, json=BODIES[path] | options | {"stream": True})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, rest = answer.text.split("\n\n")
        assert rest == ""
        assert all(event.startswith("data: ") and "\n" not in event for event in events)
        return [event.removeprefix("data: ") for event in events]


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    engine = Spy(Script(text="x, y"))
    with served() as serve:
        yield Room(serve(engine=engine), engine)


@pytest.mark.parametrize("path", PATHS)
async def test_a_gap_between_prefix_and_suffix(room: Room, path: str) -> None:
    await room.whole(path)
    assert room.engine.asked == [InfillRequest(segments=(Fixed("def f("), Masked(64), Fixed("):\n")))]


async def test_llama_cpp_answers_whole(room: Room) -> None:
    answer = await room.whole(LLAMA)
    assert answer["content"] == "x, y"
    assert (answer["stop"], answer["stop_type"], answer["stopping_word"]) == (True, "eos", "")
    assert (answer["model"], answer["truncated"]) == ("fake-model", False)
    assert (answer["tokens_evaluated"], answer["tokens_cached"]) == (1, 0)
    assert {"prompt_n", "prompt_ms", "predicted_n", "predicted_ms"} <= set(answer["timings"])


async def test_llama_cpp_streams_content_until_stop(room: Room) -> None:
    *pieces, last = [json.loads(event) for event in await room.streamed(LLAMA)]
    assert "".join(piece["content"] for piece in pieces) == "x, y"
    assert not any(piece["stop"] for piece in pieces)
    assert (last["stop"], last["content"], last["stop_type"]) == (True, "", "eos")


async def test_llama_cpp_puts_extra_context_first_and_the_prompt_last(room: Room) -> None:
    extra = [{"filename": "a.py", "text": "A = 1"}, {"filename": "b.py", "text": "B = 2"}]
    await room.whole(LLAMA, input_extra=extra, prompt="self, ", n_predict=128, seed=7, t_max_predict_ms=500)
    asked = room.engine.asked[0]
    assert asked.segments == (Fixed("A = 1\nB = 2\ndef f(self, "), Masked(128), Fixed("):\n"))
    assert (asked.seed, asked.deadline_ms) == (7, 500)


async def test_openai_answers_whole(room: Room) -> None:
    answer = await room.whole(OPENAI, n=1, seed=3, user="somebody")
    assert answer["id"].startswith("cmpl-")
    assert answer["object"] == "text_completion"
    assert isinstance(answer["created"], int)
    assert answer["model"] == "fake-model"
    assert answer["choices"] == [{"index": 0, "text": "x, y", "finish_reason": "stop", "logprobs": None}]
    assert answer["usage"] == {"prompt_tokens": 1, "completion_tokens": 16, "total_tokens": 17}
    assert (room.engine.asked[0].seed, room.engine.asked[0].client) == (3, "somebody")


async def test_openai_streams_until_done(room: Room) -> None:
    *chunks, done = await room.streamed(OPENAI)
    assert done == "[DONE]"
    choices = [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]
    assert "".join(choice["text"] for choice in choices) == "x, y"
    assert choices[-1]["finish_reason"] == "stop"


async def test_openai_may_ask_for_several(room: Room) -> None:
    await room.whole(OPENAI, n=3)
    assert room.engine.asked[0].n == 3


async def test_mistral_answers_whole(room: Room) -> None:
    answer = await room.whole(MISTRAL, max_tokens=30, random_seed=9, min_tokens=0, temperature=0.2)
    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "x, y"}, "finish_reason": "stop"}
    ]
    assert set(answer["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert (room.engine.asked[0].seed, room.engine.asked[0].segments[1]) == (9, Masked(30))


async def test_mistral_streams_deltas_until_done(room: Room) -> None:
    *chunks, done = await room.streamed(MISTRAL)
    assert done == "[DONE]"
    assert {json.loads(chunk)["object"] for chunk in chunks} == {"chat.completion.chunk"}
    choices = [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]
    assert "".join(choice["delta"]["content"] for choice in choices) == "x, y"
    assert choices[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("stop", "text"), [(",", "x"), ([" y", ","], "x"), (["", "z"], "x, y"), ([], "x, y")])
async def test_the_text_ends_before_a_stop_word(room: Room, path: str, stop: object, text: str) -> None:
    answer = await room.whole(path, stop=stop)
    choice = answer.get("choices", [{}])[0]
    assert (answer.get("content") or choice.get("text") or choice["message"]["content"]) == text
    if path == LLAMA and text == "x":
        assert (answer["stop_type"], answer["stopping_word"]) == ("word", ",")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("finish", ["length", "steps", "deadline"])
async def test_what_ended_early_says_so(room: Room, path: str, finish: str) -> None:
    room.engine.script = Script(finish=finish)
    answer = await room.whole(path)
    told = answer["stop_type"] if path == LLAMA else answer["choices"][0]["finish_reason"]
    assert told == ("limit" if path == LLAMA else "length")


@pytest.mark.parametrize(
    ("asked", "masked"), [(None, 64), (-1, 64), (0, 1), (1, 1), (10_000, 10_000), (10**9, MAX_GAP_TOKENS)]
)
@pytest.mark.parametrize(("path", "name"), [(LLAMA, "n_predict"), (OPENAI, "max_tokens"), (MISTRAL, "max_tokens")])
async def test_lengths_are_brought_into_range(room: Room, path: str, name: str, asked: object, masked: int) -> None:
    await room.whole(path, **{name: asked})
    assert room.engine.asked[0].segments[1] == Masked(masked)


@pytest.mark.parametrize("path", PATHS)
async def test_options_without_a_meaning_here_are_ignored(room: Room, path: str) -> None:
    unknown = {"temperature": 0.2, "top_p": 0.9, "top_k": 40, "logit_bias": {}, "cache_prompt": True, "samplers": []}
    await room.whole(path, **unknown, suffix=None, stop=None, seed=None)


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (LLAMA, [], "must be an object, not a list"),
        (LLAMA, {"input_prefix": 1}, "'input_prefix' must be a string"),
        (LLAMA, {"input_extra": [{"filename": "a"}]}, "'text' is missing"),
        (LLAMA, {"input_prefix": "\ud800"}, "lone surrogate"),
        (OPENAI, {"model": "m"}, "'prompt' is missing"),
        (OPENAI, {"prompt": ["a", "b"]}, "'prompt' must be a string, or a list of one string"),
        (OPENAI, {"prompt": [1, 2]}, "'prompt' must be a string, or a list of one string"),
        (OPENAI, {"prompt": "a", "n": 100}, "'n' must be between 1 and 8"),
        (OPENAI, {"prompt": "a", "stop": [1]}, "'stop' must be a string"),
        (MISTRAL, {"prompt": "a", "max_tokens": "9"}, "'max_tokens' must be an integer"),
        (MISTRAL, {"prompt": "a", "random_seed": 2**64}, "'seed' must be between"),
    ],
)
async def test_what_cannot_be_translated_is_refused(room: Room, path: str, body: object, sentence: str) -> None:
    answer = await room.client.post(path, content=json.dumps(body).encode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert sentence in answer.json()["error"]["message"]
    assert room.engine.asked == []


async def test_a_prompt_may_be_a_list_of_one(room: Room) -> None:
    await room.whole(OPENAI, prompt=["def f("])
    assert room.engine.asked[0].segments[0] == Fixed("def f(")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_failures_have_their_status(path: str, stream: bool) -> None:
    with served() as serve:
        answer = await serve(Script(fail="out_of_memory")).post(path, json=BODIES[path] | {"stream": stream})
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "out_of_memory")


@pytest.mark.parametrize("path", PATHS)
async def test_the_token_is_asked_for(room: Room, path: str) -> None:
    answer = await room.client.post(path, json=BODIES[path], headers={"authorization": "Bearer wrong"})
    assert answer.status_code == 401
