"""Other servers' ways to ask for one gap, for plugins that exist already: thin translations, and no more.

- ``POST /infill`` as llama.cpp's server has it (tools/server/README.md in ggml-org/llama.cpp);
- ``POST /v1/completions`` as OpenAI's completions with ``suffix`` (types/completion*.py in openai/openai-python);
- ``POST /v1/fim/completions`` as Mistral's (docs/models/fimcompletion*.md in mistralai/client-python).

Options that a diffusion model has no use for, such as temperatures, are ignored, and so is ``model``: there is one. A
stream is in each one's own form, but brings the text in one piece: drafts change until they are done, and none of these
forms can take back what it sent. Errors have this worker's form and status. Tokens of a completion are counted in
canvas positions.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inference.answer import Answer
from inference.body import read_json
from inference.guard import to_json
from inference.protocol import (
    MAX_GAP_TOKENS,
    Choice,
    FinishReason,
    Fixed,
    InfillRequest,
    InfillResult,
    Masked,
    PrefixSuffix,
    ProtocolError,
    decode,
)
from inference.scheduler import Scheduler

NOTHING = Choice((), 0.0, FinishReason.LENGTH)

_T = TypeVar("_T")


def compat_routes(scheduler: Scheduler) -> list[Route]:
    """Return the routes of this module."""

    async def llama_cpp(request: Request) -> Response:
        asked = _read(LlamaCppInfill, await read_json(request))
        extra = "".join(f"{chunk.text}\n" for chunk in asked.input_extra)
        gap = _gap(extra + asked.input_prefix + asked.prompt, asked.input_suffix, asked.n_predict)
        deadline_ms = min(asked.t_max_predict_ms, 600_000) if asked.t_max_predict_ms > 0 else None
        infill = InfillRequest(segments=gap, seed=_seed(asked.seed), deadline_ms=deadline_ms)
        return Answer(infill, scheduler, lambda result: _llama_cpp(asked, result))

    async def openai(request: Request) -> Response:
        asked = _read(OpenAiCompletion, await read_json(request))
        gap = _gap(asked.prompt, asked.suffix, asked.max_tokens)
        infill = InfillRequest(segments=gap, n=asked.n, seed=_seed(asked.seed), client=asked.user)
        return Answer(infill, scheduler, lambda result: _openai(asked, result))

    async def mistral(request: Request) -> Response:
        asked = _read(MistralFim, await read_json(request))
        gap = _gap(asked.prompt, asked.suffix, asked.max_tokens)
        infill = InfillRequest(segments=gap, seed=_seed(asked.random_seed))
        return Answer(infill, scheduler, lambda result: _mistral(asked, result))

    paths = {"/infill": llama_cpp, "/v1/completions": openai, "/v1/fim/completions": mistral}
    return [Route(path, handler, methods=["POST"]) for path, handler in paths.items()]


# --- what is read -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ExtraContext:
    """One chunk of ``input_extra``."""

    text: str
    filename: str = ""


@dataclass(frozen=True, kw_only=True)
class LlamaCppInfill:
    """``prompt`` is what is known already of the gap's beginning; ``n_predict`` -1 leaves the length to the server."""

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: tuple[ExtraContext, ...] = ()
    prompt: str = ""
    n_predict: int = -1
    seed: int = -1
    stop: tuple[str, ...] = ()
    t_max_predict_ms: int = 0
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class OpenAiCompletion:
    """``prompt`` may also be a list of one string; lists of tokens are another tokenizer's."""

    prompt: str
    suffix: str = ""
    max_tokens: int = -1
    n: int = 1
    seed: int = -1
    stop: tuple[str, ...] = ()
    user: str | None = None
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class MistralFim:
    """As :class:`OpenAiCompletion`, with other names."""

    prompt: str
    suffix: str = ""
    max_tokens: int = -1
    random_seed: int = -1
    stop: tuple[str, ...] = ()
    stream: bool = False


def _read(kind: type[_T], body: object) -> _T:
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if value is not None}  # null is as good as nothing
        if isinstance(body.get("stop"), str):
            body["stop"] = [body["stop"]]
        if isinstance(prompts := body.get("prompt"), list):
            if len(prompts) != 1 or not isinstance(prompts[0], str):
                raise ProtocolError("'prompt' must be a string, or a list of one string; send one request for each")
            body["prompt"] = prompts[0]
    return decode(kind, body, ignore_unknown=True)


def _gap(prefix: str, suffix: str, max_tokens: int) -> tuple[Fixed, Masked, Fixed]:
    length = PrefixSuffix.max_tokens if max_tokens < 0 else min(max(max_tokens, 1), MAX_GAP_TOKENS)
    return Fixed(prefix), Masked(length), Fixed(suffix)


def _seed(seed: int) -> int | None:
    return None if seed < 0 else seed


# --- what is written --------------------------------------------------------------------------------------------------


def _llama_cpp(asked: LlamaCppInfill, result: InfillResult) -> Response:
    text, stopping_word, finish = _cut(next(iter(result.choices), NOTHING), asked.stop)
    usage, timings = result.usage, result.timings_ms
    end: dict[str, Any] = {
        "index": 0,
        "stop": True,
        "stop_type": "word" if stopping_word else "eos" if finish == "stop" else "limit",
        "stopping_word": stopping_word,
        "model": result.model,
        "tokens": [],
        "tokens_cached": usage.cached_tokens,
        "tokens_evaluated": usage.prompt_tokens,
        "truncated": usage.truncated_tokens > 0,
        "timings": {
            "cache_n": usage.cached_tokens,
            "prompt_n": usage.prompt_tokens - usage.cached_tokens,
            "prompt_ms": timings.encode,
            "predicted_n": usage.canvas_tokens,
            "predicted_ms": timings.denoise,
        },
    }
    if asked.stream:
        return _events({"index": 0, "content": text, "tokens": [], "stop": False}, {"content": ""} | end)
    return _whole({"content": text} | end)


def _openai(asked: OpenAiCompletion, result: InfillResult) -> Response:
    def choice(index: int, choice: Choice) -> dict[str, Any]:
        text, _, finish = _cut(choice, asked.stop)
        return {"index": index, "text": text, "finish_reason": finish, "logprobs": None}

    return _completion("text_completion", "text_completion", choice, asked.stream, result)


def _mistral(asked: MistralFim, result: InfillResult) -> Response:
    def choice(index: int, choice: Choice) -> dict[str, Any]:
        text, _, finish = _cut(choice, asked.stop)
        said = {"role": "assistant", "content": text}
        return {"index": index, "delta" if asked.stream else "message": said, "finish_reason": finish}

    return _completion("chat.completion", "chat.completion.chunk", choice, asked.stream, result)


def _completion(
    kind: str, chunk_kind: str, choice: Callable[[int, Choice], dict[str, Any]], stream: bool, result: InfillResult
) -> Response:
    """The frame that OpenAI's and Mistral's answers share."""
    usage = result.usage
    body = {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": chunk_kind if stream else kind,
        "created": int(time.time()),
        "model": result.model,
        "choices": [choice(index, each) for index, each in enumerate(result.choices)],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.canvas_tokens,
            "total_tokens": usage.prompt_tokens + usage.canvas_tokens,
        },
    }
    return _events(body, end=b"data: [DONE]\n\n") if stream else _whole(body)


def _cut(choice: Choice, stop: tuple[str, ...]) -> tuple[str, str, str]:
    """The text before the first stop word, that word or nothing, and why the text ends: ``stop`` or ``length``."""
    text = "".join(fill.text for fill in choice.fills)
    found = [(at, word) for word in stop if word and (at := text.find(word)) >= 0]
    if found:
        at, word = min(found)
        return text[:at], word, "stop"
    return text, "", "stop" if choice.finish_reason is FinishReason.GAP_END else "length"


def _whole(body: dict[str, Any]) -> Response:
    return Response(to_json(body), media_type="application/json")


def _events(*bodies: dict[str, Any], end: bytes = b"") -> Response:
    content = b"".join(b"data: %b\n\n" % to_json(body) for body in bodies) + end
    return Response(content, media_type="text/event-stream", headers={"cache-control": "no-store"})
