"""The local engine on a tiny random checkpoint: text in, text out, on time, and nothing kept that should not be."""

import itertools
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from inference.checkpoint import EMBEDDED, load_checkpoint
from inference.device import devices
from inference.engines.base import Cancelled, EngineError
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


def exact(folder: Path) -> LocalEngine:
    """The engine in float32: in bfloat16 the rounding depends on how many rows share a matrix product."""
    cpu = next(device for device in devices() if device.kind == "cpu")
    engine = LocalEngine(folder, load=partial(load_checkpoint, device=replace(cpu, bfloat16=False)))
    engine.load(lambda progress, message: None)
    return engine


def ask(engine: LocalEngine, request: InfillRequest = REQUEST, drafts: list[Draft] | None = None) -> InfillResult:
    return engine.infill(request, on_draft=None if drafts is None else drafts.append)


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


def test_drafts_come_after_every_step(loaded: LocalEngine) -> None:
    drafts = list[Draft]()
    answer = ask(loaded, varied(n=2), drafts)
    assert [draft.step for draft in drafts] == list(range(1, answer.usage.denoising_steps + 1))
    assert all(draft.max_steps == 8 and len(draft.tokens) == 16 for draft in drafts)
    for draft in drafts:
        assert "".join(token.text for token in draft.tokens).startswith(draft.fills[0])
    assert drafts[-1].fills[0] == answer.choices[0].fills[0].text


def test_the_request_limits_the_steps(loaded: LocalEngine) -> None:
    answer = ask(loaded, varied(max_denoising_steps=1))
    assert answer.usage.denoising_steps == 1
    assert answer.choices[0].finish_reason is FinishReason.STEPS


def test_the_deadline_returns_the_best_so_far(loaded: LocalEngine) -> None:
    answer = loaded.infill(varied(max_denoising_steps=1000), deadline=time.monotonic() + 0.05)
    assert answer.usage.denoising_steps < 1000
    assert answer.choices[0].finish_reason is FinishReason.DEADLINE


@pytest.mark.parametrize("polls", [0, 1, 4])
def test_cancelling(loaded: LocalEngine, polls: int) -> None:
    answers, drafts = itertools.chain([False] * polls, itertools.repeat(True)), list[Draft]()
    with pytest.raises(Cancelled):
        loaded.infill(REQUEST, cancelled=lambda: next(answers), on_draft=drafts.append)
    assert len(drafts) <= polls  # one poll before each step
    assert ask(loaded).choices  # and the engine is as good as before


def test_side_by_side_as_alone(folder: Path) -> None:
    check_side_by_side(exact(folder))


def test_the_embedded_model_side_by_side_as_alone() -> None:
    check_side_by_side(exact(EMBEDDED))


def check_side_by_side(loaded: LocalEngine) -> None:
    """Three requests of different prompts and rows in shared forwards; the third joins after two steps."""
    requests = [
        varied(seed=1),
        varied(seed=2, n=2, segments=(Fixed("def add(a, "), Masked(8), Fixed("\n"))),
        varied(seed=3, segments=(Fixed("# Über"), Masked(4), Fixed(""))),
    ]
    alone = [ask(loaded, request) for request in requests]
    fillings = [loaded.begin(request, deadline=None, on_draft=None) for request in requests]
    for number in itertools.count():
        under_way = [filling for filling in fillings[: 2 if number < 2 else 3] if filling.outcome is None]
        if not under_way and number > 2:
            break
        loaded.advance(under_way)
    for filling, expected in zip(fillings, alone, strict=True):
        found = filling.outcome
        assert isinstance(found, InfillResult)
        assert [choice.fills for choice in found.choices] == [choice.fills for choice in expected.choices]
        confidences = [choice.confidence for choice in expected.choices]
        assert [choice.confidence for choice in found.choices] == pytest.approx(confidences, abs=1e-3)


def test_a_prompt_in_pieces_is_as_good_as_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = exact(folder)
    whole = ask(engine, varied(max_denoising_steps=2))
    engine._prefixes.clear()
    monkeypatch.setattr(LocalEngine, "_piece", 3)
    pieces = ask(engine, varied(max_denoising_steps=2))
    assert pieces.usage == whole.usage
    assert [choice.fills for choice in pieces.choices] == [choice.fills for choice in whole.choices]


def test_the_embedded_model_fills_a_gap() -> None:
    engine = LocalEngine(EMBEDDED)
    engine.load(lambda progress, message: None)
    assert engine.model == "lacuna-default"
    answer = ask(engine)
    assert answer.model == "lacuna-default"
    assert 0 < answer.choices[0].confidence <= 1
