"""Requests side by side in the local engine, with a model that knows its text and a format of one token per letter."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.canvas import TokenCanvas
from inference.checkpoint import Checkpoint
from inference.denoising import DenoisingSettings
from inference.engines.base import Cancelled, Engine, EngineError, Filling, ModelBroken
from inference.engines.local import LocalEngine
from inference.errors import ModelBroken as Broken
from inference.formats.base import Prepared
from inference.protocol import Draft, EditRequest, ErrorCode, FinishReason, Fixed, InfillRequest, InfillResult, Masked
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from tests.support.fake_denoiser import FakeDenoiser, certain_logits, random_logits
from tests.support.fake_format import END, VOCABULARY, FakeFormat, tokens
from tests.support.knowing_denoiser import KnowingDenoiser

TEXT = "def area(w, h): return w * h  # the whole of it, and some more"
START, STOP = TEXT.index("return"), TEXT.index("  #")
SETTINGS = DenoisingSettings(
    EntropyBoundSampler(0.1), LinearTemperature(0.4, 0.8), StableAndConfident(1, 0.005), max_denoising_steps=24
)


def engine_with(denoiser: FakeDenoiser, format_: FakeFormat | None = None, prefix_bytes: int = 10**6) -> LocalEngine:
    checkpoint = Checkpoint("fake", denoiser, format_ or FakeFormat(), SETTINGS)
    engine = LocalEngine(Path("fake"), load=lambda folder, report: checkpoint, prefix_bytes=prefix_bytes)
    engine.load(lambda progress, message: None)
    denoiser.encoded.clear()
    denoiser.canvases.clear()
    return engine


def knowing(text: str = TEXT, end: int = STOP, **how: Any) -> KnowingDenoiser:
    return KnowingDenoiser(VOCABULARY, text=text, end=end, **how)


def asking(prefix: str, max_tokens: int = 15, suffix: str = "", **more: Any) -> InfillRequest:
    return InfillRequest(segments=(Fixed(prefix), Masked(max_tokens), Fixed(suffix)), **{"seed": 1} | more)


def begun(engine: Engine, request: InfillRequest | EditRequest, deadline: float | None = None) -> Filling:
    return engine.begin(request, deadline=deadline, on_draft=None)


def finish(engine: Engine, *fillings: Filling) -> list[InfillResult | EngineError]:
    for _ in range(1000):
        under_way = [filling for filling in fillings if filling.outcome is None]
        if not under_way:
            return [filling.outcome for filling in fillings if filling.outcome is not None]
        engine.advance(under_way)
    raise AssertionError("it does not end")


def text_of(outcome: InfillResult | EngineError) -> str:
    assert isinstance(outcome, InfillResult), outcome
    return outcome.choices[0].fills[0].text


def test_it_is_an_engine() -> None:
    engine: Engine = engine_with(knowing())
    assert (engine.name, engine.model, engine.device, engine.takes_instructions) == ("local", "fake", "cpu", False)
    assert engine.room > 1


def test_a_gap_is_filled() -> None:
    engine = engine_with(knowing())
    answer = engine.infill(asking(TEXT[:START]))
    assert text_of(answer) == "return w * h"
    assert answer.choices[0].finish_reason is FinishReason.GAP_END
    assert answer.confidence_floor == 0.25
    assert answer.usage.canvas_tokens == 16


# --- pieces of a prompt ---------------------------------------------------------------------------------------------


def long_text(length: int) -> str:
    return "".join(itertools.islice(itertools.cycle(TEXT), length))


def test_a_long_prompt_is_encoded_in_pieces_and_the_cache_grows_with_it() -> None:
    text = long_text(1300)
    denoiser = knowing(text + "done", len(text) + 4)
    engine = engine_with(denoiser)
    filling = begun(engine, asking(text))
    sizes = []
    for _ in range(3):
        assert not denoiser.canvases
        engine.advance([filling])
        sizes.append((len(engine._prefixes), engine._prefixes.size // 8))
    assert denoiser.encoded == [512, 512, 1301 - 1024]
    assert sizes == [(1, 512), (1, 1024), (1, 1301)]  # never two copies of the same tokens
    (answer,) = finish(engine, filling)
    assert text_of(answer) == "done"
    assert isinstance(answer, InfillResult)
    assert (answer.usage.prompt_tokens, answer.usage.cached_tokens) == (1301, 0)


def test_giving_up_between_pieces_keeps_what_is_encoded() -> None:
    text = long_text(1300)
    denoiser = knowing(text + "done", len(text) + 4)
    engine = engine_with(denoiser)
    filling = begun(engine, asking(text))
    engine.advance([filling])
    engine.abandon(filling)
    assert isinstance(filling.outcome, EngineError)
    assert filling.outcome.code is ErrorCode.CANCELLED
    assert denoiser.encoded == [512]
    answer = engine.infill(asking(text))
    assert answer.usage.cached_tokens == 512
    assert denoiser.encoded == [512, 512, 1301 - 1024]


def test_two_requests_for_one_long_prompt_encode_it_once() -> None:
    text = long_text(1300)
    denoiser = knowing(text + "done", len(text) + 4)
    engine = engine_with(denoiser)
    answers = finish(engine, *(begun(engine, asking(text, seed=seed)) for seed in (1, 2)))
    assert [text_of(answer) for answer in answers] == ["done", "done"]
    assert sum(denoiser.encoded) == 1301


def test_without_memory_for_prefixes_each_token_is_still_encoded_once() -> None:
    text = long_text(1300)
    denoiser = knowing(text + "done", len(text) + 4)
    engine = engine_with(denoiser, prefix_bytes=0)
    engine.infill(asking(text))
    assert sum(denoiser.encoded) == 1301


# --- side by side ---------------------------------------------------------------------------------------------------


def test_canvases_of_one_length_share_their_forwards() -> None:
    denoiser = knowing()
    engine = engine_with(denoiser)
    requests = [asking(TEXT[:START]), asking(TEXT[: START + 7]), asking(TEXT[: START + 9], max_tokens=5)]
    answers = finish(engine, *(begun(engine, request) for request in requests))
    assert [text_of(answer) for answer in answers] == ["return w * h", "w * h", "* h"]
    assert max(len(canvas) for canvas in denoiser.canvases) == 2
    assert {canvas.shape[1] for canvas in denoiser.canvases} >= {16, 8}
    alone = [engine_with(knowing()).infill(request) for request in requests]
    for answer, other in zip(answers, alone, strict=True):
        assert isinstance(answer, InfillResult)
        assert answer.choices == other.choices
        assert answer.usage.denoising_steps == other.usage.denoising_steps


def test_no_more_logits_than_fit_share_a_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser = knowing()
    engine = engine_with(denoiser)
    monkeypatch.setattr(LocalEngine, "_shared_bytes", 4 * 2 * 16 * VOCABULARY)  # two rows of 16
    answers = finish(engine, *(begun(engine, asking(TEXT[:START], n=n)) for n in (1, 1, 1, 3)))
    assert {text_of(answer) for answer in answers} == {"return w * h"}
    assert sorted(len(canvas) for canvas in denoiser.canvases if canvas.shape[1] == 16)[-3:] == [3, 3, 3]
    assert 4 not in {len(canvas) for canvas in denoiser.canvases}


def test_left_out_they_wait() -> None:
    denoiser = knowing()
    engine = engine_with(denoiser)
    first, second = (begun(engine, asking(TEXT[:START], seed=seed)) for seed in (1, 2))
    finish(engine, first)
    assert second.outcome is None
    assert text_of(finish(engine, second)[0]) == "return w * h"


def test_what_goes_wrong_with_one_does_not_touch_the_others(caplog: pytest.LogCaptureFixture) -> None:
    format_ = FakeFormat()
    read = format_.read

    def failing(prepared: Any, row: int, ids: Any, log_probs: Any) -> Any:
        if len(prepared.prompt_ids) == START + 1 + 7:
            raise RuntimeError(f"a bug with {TEXT}")
        return read(prepared, row, ids, log_probs)

    engine = engine_with(knowing(), format_)
    format_.read = failing  # type: ignore[method-assign]
    good, bad = finish(engine, begun(engine, asking(TEXT[:START])), begun(engine, asking(TEXT[: START + 7])))
    assert text_of(good) == "return w * h"
    assert isinstance(bad, EngineError)
    assert bad.code is ErrorCode.INTERNAL
    assert "RuntimeError" in caplog.text
    assert TEXT not in caplog.text


def test_a_model_without_numbers_is_broken_for_all() -> None:
    denoiser = knowing()
    engine = engine_with(denoiser)
    filling = begun(engine, asking(TEXT[:START]))
    denoiser.answer = lambda ids, *_: torch.full((*ids.shape, VOCABULARY), torch.nan)  # type: ignore[method-assign]
    with pytest.raises(ModelBroken, match="not a number"):
        finish(engine, filling)
    assert ModelBroken is Broken


# --- canvas after canvas --------------------------------------------------------------------------------------------


def test_a_gap_longer_than_a_canvas_goes_on_in_the_next() -> None:
    denoiser = knowing(TEXT, len(TEXT))
    engine = engine_with(denoiser)
    answer = engine.infill(asking(TEXT[:START], max_tokens=60))
    assert text_of(answer) == TEXT[START:]
    assert answer.choices[0].finish_reason is FinishReason.GAP_END
    assert answer.usage.canvas_tokens == 16 * 3
    assert answer.usage.prompt_tokens == START + 1
    assert sum(denoiser.encoded) == START + 1 + 32  # what an earlier canvas filled is encoded, the rest is cached
    assert len(engine._prefixes) == 1


@pytest.mark.parametrize("max_tokens", [1, 17, 10_000])
def test_gaps_of_any_length_end(max_tokens: int) -> None:
    text = long_text(3000)
    engine = engine_with(knowing(text, len(text)), FakeFormat(canvas_lengths=(4, 64, 256)))
    answer = engine.infill(asking("", max_tokens))
    assert text_of(answer) == text[:max_tokens]
    assert answer.choices[0].finish_reason is (FinishReason.LENGTH if max_tokens < 3000 else FinishReason.GAP_END)
    assert answer.usage.prompt_tokens == 1


def test_several_gaps_are_filled_one_after_the_other() -> None:
    text = "ab=12;cd=345;"
    denoiser = knowing(text)

    def wanted(start: int, length: int) -> list[int]:
        return [*tokens(text[start : text.find(";", start)]), END, *[1] * length][:length]

    denoiser.wanted = wanted  # type: ignore[method-assign]
    engine = engine_with(denoiser)
    answer = engine.infill(
        InfillRequest(segments=(Fixed("ab="), Masked(6), Fixed(";cd="), Masked(7), Fixed(";")), seed=1)
    )
    assert [fill.text for fill in answer.choices[0].fills] == ["12", "345"]


def test_a_row_that_leaves_nothing_stays_a_choice_when_another_goes_on() -> None:
    long, short = tokens("abcd" * 8), [*tokens("xy"), END, *[1] * 13]

    def logits(canvas: torch.Tensor) -> torch.Tensor:
        rows = [long[: canvas.shape[1]], short[: canvas.shape[1]]]
        if len(canvas) == 1:
            rows = [[*tokens("zz"), END, *[1] * 13][: canvas.shape[1]]]
        sure = certain_logits(torch.tensor(rows), VOCABULARY)(canvas)
        return sure * torch.tensor([1.0, 0.4])[: len(canvas), None, None]

    engine = engine_with(FakeDenoiser(VOCABULARY, lambda canvas: torch.zeros(*canvas.shape, VOCABULARY)))
    assert engine._checkpoint
    engine._checkpoint.denoiser.logits = logits  # type: ignore[attr-defined]
    answer = engine.infill(asking("", max_tokens=30, n=2))
    assert [choice.fills[0].text for choice in answer.choices] == ["abcd" * 4 + "zz", "xy"]


# --- several rows ---------------------------------------------------------------------------------------------------


def test_choices_are_ranked_and_differ() -> None:
    engine = engine_with(FakeDenoiser(VOCABULARY, random_logits(VOCABULARY, 0)))
    answer = engine.infill(asking("x", n=8, max_denoising_steps=3))
    confidences = [choice.confidence for choice in answer.choices]
    assert len(answer.choices) == len({choice.fills for choice in answer.choices}) > 1
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 1 for confidence in confidences)
    assert answer.usage.canvas_tokens == 8 * 16
    assert engine_with(knowing()).infill(asking(TEXT[:START], n=8)).choices[1:] == ()  # equal fills are given once


@pytest.mark.parametrize("n", [1, 2, 8])
def test_there_are_no_more_choices_than_were_asked_for(n: int) -> None:
    class Ladder(FakeFormat):
        def prepare(self, request: InfillRequest | EditRequest, expected: str | None = None) -> Prepared:
            prepared = super().prepare(request, expected)
            ids = prepared.canvas.token_ids.repeat(7, 1)  # seven rows for each candidate
            return replace(prepared, canvas=TokenCanvas(ids, torch.zeros_like(ids, dtype=torch.bool)))

    def answer(n: int) -> InfillResult:
        engine = engine_with(FakeDenoiser(VOCABULARY, random_logits(VOCABULARY, 0)), Ladder())
        return engine.infill(asking("x", n=n, max_denoising_steps=3))

    choices = answer(n).choices
    assert len(choices) == n
    assert [choice.confidence for choice in choices] == sorted((c.confidence for c in choices), reverse=True)


def test_an_empty_prefix_and_suffix() -> None:
    answer = engine_with(knowing("hi", 2)).infill(asking(""))
    assert text_of(answer) == "hi"


def test_drafts_come_after_every_step() -> None:
    drafts = list[Draft]()
    engine = engine_with(knowing(TEXT, len(TEXT)))
    answer = engine.infill(asking(TEXT[:START], max_tokens=40, n=2), on_draft=drafts.append)
    assert [draft.step for draft in drafts] == list(range(1, answer.usage.denoising_steps + 1))
    assert all(draft.max_steps >= draft.step for draft in drafts)
    assert drafts[-1].fills == tuple(fill.text for fill in answer.choices[0].fills)
    assert {len(draft.tokens) for draft in drafts} <= {4, 8, 16}
    assert any(token.accepted for token in drafts[0].tokens)


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_passed_deadline_gives_the_first_step() -> None:
    engine = engine_with(knowing())
    (answer,) = finish(engine, begun(engine, asking(TEXT[:START]), deadline=time.monotonic() - 1))
    assert isinstance(answer, InfillResult)
    assert answer.usage.denoising_steps == 1
    assert answer.choices[0].finish_reason is FinishReason.DEADLINE


@pytest.mark.parametrize(
    ("request_", "text"),
    [(asking(long_text(1300)), ""), (EditRequest(prefix=long_text(1300), selection="as it was"), "as it was")],
)
def test_a_deadline_that_passes_while_encoding_leaves_things_as_they_are(
    request_: InfillRequest | EditRequest, text: str
) -> None:
    denoiser = knowing(long_text(1400), 1400)
    engine = engine_with(denoiser)
    (answer,) = finish(engine, begun(engine, request_, deadline=time.monotonic() - 1))
    assert isinstance(answer, InfillResult)
    assert text_of(answer) == text
    assert (answer.choices[0].confidence, answer.choices[0].finish_reason) == (0.0, FinishReason.DEADLINE)
    assert denoiser.encoded == [512]
    assert not denoiser.canvases


@pytest.mark.parametrize("piece", [5, 512], ids=["while encoding", "while denoising"])
def test_a_deadline_within_a_later_canvas_keeps_the_earlier_ones(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_with(knowing(TEXT, len(TEXT)))
    monkeypatch.setattr(LocalEngine, "_piece", piece)
    clock = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    filling = begun(engine, asking(TEXT[:START], max_tokens=60), deadline=clock[0] + 100)
    while engine._prefixes.size < 8 * (START + 2):  # the second canvas's prompt has begun
        engine.advance([filling])
    clock[0] += 1000
    (answer,) = finish(engine, filling)
    assert isinstance(answer, InfillResult)
    assert answer.choices[0].fills[0].text == TEXT[START : START + 16]
    assert answer.choices[0].finish_reason is FinishReason.DEADLINE


def test_steps_run_out() -> None:
    answer = engine_with(knowing(stride=16)).infill(asking(TEXT[:START], max_denoising_steps=2))
    assert answer.choices[0].finish_reason is FinishReason.STEPS
    assert answer.usage.denoising_steps == 2


@pytest.mark.parametrize("polls", [0, 1, 2, 5])
def test_cancelling_costs_at_most_a_piece_or_a_step(polls: int) -> None:
    text = long_text(700)
    denoiser = knowing(text + TEXT, len(text) + 15, stride=16)
    engine, answers = engine_with(denoiser), itertools.chain([False] * polls, itertools.repeat(True))
    with pytest.raises(Cancelled):
        engine.infill(asking(text), cancelled=lambda: next(answers))
    assert len(denoiser.encoded) + len(denoiser.canvases) == polls
    assert text_of(engine.infill(asking(text))) == TEXT[:15]  # and the engine is as good as before


# --- warm starts ----------------------------------------------------------------------------------------------------


def typed(count: int, **more: Any) -> InfillRequest:
    return asking(TEXT[: START + count], **{"document": "file:///a.py"} | more)


def test_the_last_answer_of_a_document_warms_the_next_canvas() -> None:
    format_ = FakeFormat()
    engine = engine_with(knowing(stride=16), format_)
    cold = engine.infill(typed(0))
    warm = engine.infill(typed(3))
    assert format_.expected[-1] == "urn w * h"
    assert text_of(warm) == "urn w * h"
    assert (cold.usage.warm_tokens, warm.usage.warm_tokens) == (0, 10)
    assert warm.usage.denoising_steps < engine_with(knowing(stride=16)).infill(typed(3)).usage.denoising_steps
    assert warm.usage.denoising_steps <= 2


@pytest.mark.parametrize("more", [{"document": "file:///b.py"}, {"document": None}, {"suffix": "other"}])
def test_nothing_is_expected_elsewhere(more: dict[str, Any]) -> None:
    format_ = FakeFormat()
    engine = engine_with(knowing(), format_)
    engine.infill(typed(0))
    assert engine.infill(typed(3, **more)).usage.warm_tokens == 0
    assert format_.expected[-1] is None


def test_a_wrong_expectation_is_mended() -> None:
    engine = engine_with(knowing("abc yy, zz", 10, stride=16))
    engine._answers.remember("doc", "ab", "", "c no, zz")
    answer = engine.infill(asking("abc ", document="doc"))
    assert text_of(answer) == "yy, zz"
    assert answer.usage.warm_tokens > 0


# --- memory ---------------------------------------------------------------------------------------------------------

ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: x")]


def rationed(denoiser: FakeDenoiser, rows: int, error: Exception, length: int = 1000) -> FakeDenoiser:
    """It fails on canvases of more rows, or longer ones."""
    whole: Callable[..., torch.Tensor] = denoiser.denoise

    def denoise(ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(ids) > rows or ids.shape[1] > length:
            raise error
        return whole(ids, *rest)

    denoiser.denoise = denoise  # type: ignore[method-assign]
    return denoiser


@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory_in_a_shared_forward_is_tried_one_by_one(error: Exception) -> None:
    denoiser = rationed(knowing(), 1, error)
    engine = engine_with(denoiser)
    answers = finish(engine, *(begun(engine, asking(TEXT[:START], seed=seed)) for seed in (1, 2, 3)))
    assert [text_of(answer) for answer in answers] == ["return w * h"] * 3


@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory_halves_the_rows(error: Exception) -> None:
    denoiser = rationed(knowing(), 2, error)
    answer = engine_with(denoiser).infill(asking(TEXT[:START], n=8))
    assert text_of(answer) == "return w * h"
    assert max(len(canvas) for canvas in denoiser.canvases) == 2


def test_out_of_memory_shortens_the_gap() -> None:
    answer = engine_with(rationed(knowing(), 1, ERRORS[0], length=8)).infill(asking(TEXT[:START], n=2))
    assert text_of(answer) == "return "
    assert answer.choices[0].finish_reason is FinishReason.LENGTH
    assert answer.usage.canvas_tokens == 8


def test_out_of_memory_that_nothing_helps_is_named_and_the_others_live_on() -> None:
    denoiser = knowing()
    engine = engine_with(denoiser)
    rationed(denoiser, 1, ERRORS[0], length=8)
    small, large = asking(TEXT[:START], max_tokens=7), EditRequest(prefix=TEXT[:START], selection="x" * 15)
    good, bad = finish(engine, begun(engine, small), begun(engine, large))
    assert text_of(good) == "return "
    assert isinstance(bad, EngineError)
    assert bad.code is ErrorCode.OUT_OF_MEMORY
    assert "ask for a shorter gap" in str(bad)


def test_out_of_memory_empties_the_caches_before_anything_else() -> None:
    denoiser = knowing()
    engine = engine_with(denoiser)
    engine.infill(asking(TEXT[:5]))
    whole, kept = denoiser.denoise, list[int]()

    def once(*arguments: Any) -> torch.Tensor:
        kept.append(len(engine._prefixes))
        if len(kept) == 1:
            raise ERRORS[0]
        return whole(*arguments)

    denoiser.denoise = once  # type: ignore[method-assign]
    before = denoiser.released
    answer = engine.infill(asking(TEXT[:START], n=4))
    assert kept[:2] == [1, 0]
    assert denoiser.released == before + 1
    assert len(denoiser.canvases[0]) == 1 or max(len(canvas) for canvas in denoiser.canvases) == 4
    assert text_of(answer) == "return w * h"


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_out_of_memory_while_encoding(failures: int) -> None:
    denoiser = knowing()
    engine = engine_with(denoiser)
    whole, tried = denoiser.encode, list[int]()

    def encode(*arguments: Any) -> Any:
        tried.append(1)
        if len(tried) <= failures:
            raise ERRORS[0]
        return whole(*arguments)

    denoiser.encode = encode  # type: ignore[method-assign]
    first, second = begun(engine, asking(TEXT[:START])), begun(engine, asking(TEXT[:5]))
    engine.advance([first])
    if failures == 3:
        assert isinstance(first.outcome, EngineError)
        assert first.outcome.code is ErrorCode.OUT_OF_MEMORY
    else:
        assert text_of(finish(engine, first)[0]) == "return w * h"
    assert text_of(finish(engine, second)[0]) == TEXT[5:20]


# --- loading --------------------------------------------------------------------------------------------------------


def test_unloading_frees_and_loading_again_serves() -> None:
    engine = engine_with(knowing())
    engine.infill(asking(TEXT[:START]))
    engine.unload()
    assert (engine.device, len(engine._prefixes)) == ("", 0)
    with pytest.raises(EngineError) as caught:
        begun(engine, asking(TEXT[:START]))
    assert caught.value.code is ErrorCode.NOT_READY
    engine.load(lambda progress, message: None)
    assert text_of(engine.infill(asking(TEXT[:START]))) == "return w * h"
    engine.close()
    engine.close()


@pytest.mark.parametrize("error", [*ERRORS, EngineError("no such file"), RuntimeError("a bug")])
def test_loading_fails_as_it_fails(error: Exception) -> None:
    def load(*_: object) -> Checkpoint:
        raise error

    engine = LocalEngine(Path("fake"), load=load)
    expected = EngineError if error in ERRORS else type(error)
    with pytest.raises(expected) as caught:
        engine.load(lambda progress, message: None)
    if error in ERRORS:
        assert caught.value.code is ErrorCode.OUT_OF_MEMORY  # type: ignore[attr-defined]
    assert engine.device == ""
