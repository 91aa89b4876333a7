"""The local engine on a tiny random checkpoint: text in, text out, on time, and nothing kept that should not be."""

import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.checkpoint import EMBEDDED
from inference.engines import local
from inference.engines.base import Cancelled, Engine, EngineError
from inference.engines.local import LocalEngine
from inference.prefix_cache import shared_length
from inference.protocol import (
    Draft,
    ErrorCode,
    FinishReason,
    Fixed,
    InfillRequest,
    InfillResult,
    Masked,
    decode,
    encode,
)
from tests.support.tiny_checkpoint import write_tiny_checkpoint

TYPED = (Fixed("for item in it"), Masked(8), Fixed(":\n"))
REQUEST = InfillRequest(segments=(Fixed("for item in "), Masked(8), Fixed(":\n")), language_id="python", seed=1)


@pytest.fixture(scope="module", params=[1, 4], ids=["dense", "transformers"])
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny", experts=request.param)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LocalEngine:
    engine = LocalEngine(folder)
    engine.load(lambda progress, message: None)
    return engine


def ask(engine: Engine, request: InfillRequest = REQUEST, drafts: list[Draft] | None = None) -> InfillResult:
    on_draft = None if drafts is None else drafts.append
    return engine.infill(request, deadline=None, cancelled=lambda: False, on_draft=on_draft)


def varied(**changes: object) -> InfillRequest:
    return InfillRequest(**{"segments": REQUEST.segments, "seed": 1} | changes)  # type: ignore[arg-type]


def test_loading_reports_its_progress(folder: Path) -> None:
    engine, reports = LocalEngine(folder), list[tuple[float, str]]()
    assert (engine.name, engine.model, engine.device) == ("local", "tiny", "")
    engine.load(lambda progress, message: reports.append((progress, message)))
    assert engine.device == "cpu"
    assert [progress for progress, _ in reports] == sorted(progress for progress, _ in reports)
    assert reports[-1] == (1.0, "ready")


def test_a_request_before_loading_or_after_closing_is_not_ready(folder: Path) -> None:
    engine = LocalEngine(folder)
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            ask(engine)
        assert caught.value.code is ErrorCode.NOT_READY
        engine.load(lambda progress, message: None)
        ask(engine)
        engine.close()
        engine.close()


def test_the_answer_says_what_it_cost(loaded: LocalEngine) -> None:
    answer = ask(loaded, varied(n=3))
    assert (answer.model, answer.engine) == ("tiny", "local")
    assert answer.usage.canvas_tokens == 3 * 16
    assert answer.usage.prompt_tokens > 4
    assert 1 <= answer.usage.denoising_steps <= 8
    assert answer.usage.truncated_tokens == 0
    assert answer.timings_ms.queue == 0
    assert answer.timings_ms.total >= answer.timings_ms.denoise > 0
    assert decode(InfillResult, encode(answer)) == answer


def test_choices_are_ranked_and_differ(loaded: LocalEngine) -> None:
    choices = ask(loaded, varied(n=8)).choices
    assert all(0 <= choice.confidence <= 1 for choice in choices)
    assert [choice.confidence for choice in choices] == sorted((c.confidence for c in choices), reverse=True)
    assert len({choice.fills for choice in choices}) == len(choices)
    assert len(choices) > 1


def test_equal_fills_are_given_once_with_the_best_confidence(
    loaded: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gap_end, item, other = 7, 70, 71
    rows = torch.tensor([[item, gap_end, 9], [item, gap_end, 10], [other, gap_end, 9]])
    log_probs = torch.tensor([[-2.0, -2.0, 0.0], [-1.0, -2.0, -50.0], [-1.0, -1.0, 0.0]])
    why = (local.Stopped.STABLE, local.Stopped.STEPS, local.Stopped.DEADLINE)
    monkeypatch.setattr(local, "denoise", lambda *_, **__: local.Denoised(rows, log_probs, 2, why))
    first, second = ask(loaded).choices
    assert first.confidence == pytest.approx(math.exp(-1.0))
    assert second.confidence == pytest.approx(math.exp(-1.5))  # pads are not scored
    assert (first.finish_reason, second.finish_reason) == (FinishReason.DEADLINE, FinishReason.STEPS)


def test_a_settled_row_ends_as_its_tokens_say(loaded: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, stable = torch.tensor([[70, 7, 9], [70, 71, 72], [9, 9, 9]]), (local.Stopped.STABLE,) * 3
    monkeypatch.setattr(local, "denoise", lambda *_, **__: local.Denoised(rows, torch.zeros(3, 3), 2, stable))
    reasons = {choice.fills[0].text: choice for choice in ask(loaded).choices}
    assert sorted(choice.finish_reason for choice in reasons.values()) == ["gap_end", "length", "length"]
    assert reasons[""].confidence == 0.0  # nothing to score: a canvas that opens with a pad is no answer


def test_the_same_seed_gives_the_same_fill(loaded: LocalEngine) -> None:
    texts = [ask(loaded, varied(seed=seed, max_denoising_steps=2)).choices for seed in (5, 5, 6)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_an_equal_prompt_is_not_encoded_again(loaded: LocalEngine) -> None:
    loaded._prefixes.clear()
    cold, warm = ask(loaded), ask(loaded)
    assert (cold.usage.cached_tokens, warm.usage.cached_tokens) == (0, warm.usage.prompt_tokens)
    assert cold.choices == warm.choices


def test_typing_encodes_what_is_new_only(folder: Path) -> None:
    engine = LocalEngine(folder)
    engine.load(lambda progress, message: None)
    assert engine._checkpoint
    typed = InfillRequest(segments=TYPED, language_id="python", seed=1)
    prompts = [engine._checkpoint.format.prepare(request).prompt_ids for request in (REQUEST, typed)]
    shared = shared_length(*prompts)
    assert 3 < shared < len(prompts[1])
    ask(engine)
    warm = ask(engine, typed)
    assert warm.usage.cached_tokens == shared
    engine._prefixes.clear()
    cold = ask(engine, typed)
    assert cold.usage.cached_tokens == 0
    assert [choice.fills for choice in warm.choices] == [choice.fills for choice in cold.choices]
    assert [choice.confidence for choice in warm.choices] == pytest.approx([c.confidence for c in cold.choices])


def test_without_memory_for_prefixes_every_prompt_is_encoded(folder: Path) -> None:
    engine = LocalEngine(folder, prefix_bytes=0)
    engine.load(lambda progress, message: None)
    assert [ask(engine).usage.cached_tokens for _ in range(2)] == [0, 0]


def test_out_of_memory_empties_the_prefix_cache_first(loaded: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(loaded)
    original = local.denoise

    def fail_when_warm(*positional: Any, **named: Any) -> local.Denoised:
        monkeypatch.setattr(local, "denoise", original)
        assert len(loaded._prefixes) > 0
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(local, "denoise", fail_when_warm)
    assert ask(loaded).usage.cached_tokens == 0
    assert len(loaded._prefixes) == 1


def test_drafts_come_after_every_step(loaded: LocalEngine) -> None:
    drafts = list[Draft]()
    answer = ask(loaded, varied(n=2), drafts)
    assert [draft.step for draft in drafts] == list(range(1, answer.usage.denoising_steps + 1))
    assert all(draft.max_steps == 8 and len(draft.tokens) == 16 for draft in drafts)
    for draft in drafts:
        assert "".join(token.text for token in draft.tokens).startswith(draft.fills[0])
    assert drafts[-1].fills[0] == answer.choices[0].fills[0].text


def test_pads_need_not_settle(loaded: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = local.denoise, list[torch.Tensor]()

    def spy(*positional: Any, **named: Any) -> local.Denoised:
        seen.append(named["decisive"](torch.tensor([[70, 7, 9, 10]])))
        return original(*positional, **named)

    monkeypatch.setattr(local, "denoise", spy)
    ask(loaded)
    assert seen[0].tolist() == [[True, True, False, False]]


def test_the_request_limits_the_steps(loaded: LocalEngine) -> None:
    answer = ask(loaded, varied(max_denoising_steps=1))
    assert answer.usage.denoising_steps == 1
    assert answer.choices[0].finish_reason is FinishReason.STEPS


def test_the_deadline_returns_the_best_so_far(loaded: LocalEngine) -> None:
    answer = loaded.infill(
        varied(max_denoising_steps=1000), deadline=time.monotonic() + 0.05, cancelled=lambda: False, on_draft=None
    )
    assert answer.usage.denoising_steps < 1000
    assert answer.choices[0].finish_reason is FinishReason.DEADLINE


@pytest.mark.parametrize("polls", [0, 1, 4])
def test_cancelling(loaded: LocalEngine, polls: int) -> None:
    answers, drafts = itertools.chain([False] * polls, itertools.repeat(True)), list[Draft]()
    with pytest.raises(Cancelled):
        loaded.infill(REQUEST, deadline=None, cancelled=lambda: next(answers), on_draft=drafts.append)
    assert len(drafts) == max(0, polls - 1)  # one poll before encoding, then one before each step
    assert ask(loaded).choices  # and the engine is as good as before


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: x")]
)
def test_out_of_memory_is_named(loaded: LocalEngine, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(local, "denoise", fail)
        with pytest.raises(EngineError, match="out of memory while filling the gap; ask for") as caught:
            ask(loaded)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY
    assert ask(loaded).choices


def test_other_errors_are_not_hidden(loaded: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(local, "denoise", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        ask(loaded)


def test_the_embedded_model_fills_a_gap() -> None:
    engine = LocalEngine(EMBEDDED)
    engine.load(lambda progress, message: None)
    assert engine.model == "lacuna-default"
    answer = ask(engine)
    assert answer.model == "lacuna-default"
    assert 0 < answer.choices[0].confidence <= 1
