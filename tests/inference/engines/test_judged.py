"""A calibrated checkpoint in the local engine: proposals and fills judged by the causal encoder before any is shown."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from inference.engines.base import Cancelled, EngineError, ModelBroken
from inference.formats.calibration import Calibration, Coefficients
from inference.protocol import Choice, FinishReason, Fixed, InfillRequest, InfillResult, Masked, Proposal
from tests.inference.engines.test_local_filling import (
    START,
    TEXT,
    asking,
    begun,
    engine_with,
    finish,
    knowing,
    long_text,
)
from tests.support.fake_denoiser import FakePrompt
from tests.support.fake_format import END, FakeFormat, tokens
from tests.support.knowing_denoiser import KnowingDenoiser

RIGHT, WRONG = "return w * h", "return w + h"
CALIBRATION = Calibration(
    floor=0.7,
    proposal=Coefficients(bias=1.0, evidence=1.0, text=1.0, agrees=2.0),
    fill=Coefficients(bias=0.5, text=1.0),
)


def liking(prompt: FakePrompt, row: Sequence[int]) -> list[float]:
    """Sure of what goes on as TEXT does, and of nothing else."""
    wanted = [END, *tokens(TEXT)][len(prompt) :]
    return [-0.01 if token == other else -8.0 for token, other in zip(row[1:], wanted[1:], strict=False)]


def liker(**how: Any) -> KnowingDenoiser:
    return knowing(scores=liking, **how)


def calibrated(denoiser: KnowingDenoiser, calibration: Calibration | None = CALIBRATION, **how: Any) -> Any:
    engine = engine_with(denoiser, FakeFormat(calibration=calibration), **how)
    denoiser.scored.clear()
    return engine


def proposing(*proposals: tuple[str, float], **more: Any) -> InfillRequest:
    request = asking(TEXT[:START], suffix="  # the", **more)
    return replace(request, proposals=tuple(Proposal(*proposal) for proposal in proposals))


def texts(answer: InfillResult) -> list[str]:
    return [choice.fills[0].text for choice in answer.choices]


def test_a_proposal_that_the_model_likes_is_the_answer_without_a_step() -> None:
    denoiser = liker()
    answer = calibrated(denoiser).infill(proposing((WRONG, 0.5), (RIGHT, 0.0)))
    (choice,) = answer.choices
    assert choice == Choice(choice.fills, choice.confidence, FinishReason.GAP_END, proposed=True)
    assert texts(answer) == [RIGHT]
    assert choice.confidence == pytest.approx(1 / (1 + math.exp(-(1.0 - 0.01 * len(RIGHT)))))
    assert (answer.usage.denoising_steps, answer.usage.canvas_tokens, answer.confidence_floor) == (0, 0, 0.7)
    assert answer.timings_ms.denoise > 0
    assert not denoiser.canvases
    assert [len(call) for call in denoiser.scored] == [2]  # both in one pass


def test_a_proposal_that_the_model_hates_loses_to_its_own_fill() -> None:
    answer = calibrated(liker()).infill(proposing((WRONG, 0.8), n=2))
    assert texts(answer) == [RIGHT, WRONG]
    own, proposal = answer.choices
    assert own.confidence > 0.5 > proposal.confidence
    assert (own.proposed, proposal.proposed) == (False, True)
    assert answer.usage.denoising_steps > 0


def test_the_same_text_from_canvas_and_proposal_is_one_choice() -> None:
    alone = calibrated(liker()).infill(proposing((RIGHT, -0.5), n=1))
    assert (texts(alone), alone.choices[0].proposed) == ([RIGHT], True)
    assert alone.usage.denoising_steps > 0  # not sure enough before the canvas agreed
    sure = calibrated(liker()).infill(proposing((RIGHT, 0.5), n=3))
    assert texts(sure) == [RIGHT]
    assert sure.usage.denoising_steps > 0  # who wants several gets what the canvas says too
    assert sure.choices[0].confidence > alone.choices[0].confidence


def test_without_proposals_the_fill_is_judged() -> None:
    denoiser = liker()
    answer = calibrated(denoiser).infill(asking(TEXT[:START]))
    assert texts(answer) == [RIGHT]
    assert answer.choices[0].confidence == pytest.approx(1 / (1 + math.exp(-(0.5 - 0.01 * len(RIGHT)))))
    assert len(denoiser.scored) == 1
    assert answer.choices[0].finish_reason is FinishReason.GAP_END


@pytest.mark.parametrize("n", [1, 2])
def test_without_calibration_nothing_changes(n: int) -> None:
    denoiser = liker()
    plain, answers = asking(TEXT[:START], suffix="  # the", n=n), []
    for request in (plain, replace(plain, proposals=(Proposal(WRONG, 50.0), Proposal(RIGHT, 50.0)))):
        answers.append(calibrated(denoiser, calibration=None).infill(request))
    assert answers[0].choices == answers[1].choices
    assert answers[0].usage == answers[1].usage
    assert answers[1].confidence_floor == 0.25
    assert not denoiser.scored


def test_several_gaps_are_not_judged() -> None:
    denoiser = liker()
    segments = (Fixed("ab="), Masked(6), Fixed(";cd="), Masked(7), Fixed(";"))
    answer = calibrated(denoiser).infill(InfillRequest(segments=segments, seed=1))
    assert not denoiser.scored
    assert answer.confidence_floor == 0.25


def test_a_proposal_that_is_too_long_is_dropped() -> None:
    denoiser = liker()
    answer = calibrated(denoiser).infill(proposing((RIGHT, 50.0), max_tokens=len(RIGHT) - 1, n=8))
    assert not any(choice.proposed for choice in answer.choices)


def test_blank_texts_are_worth_nothing() -> None:
    denoiser = liker(end=START)  # the model says that the gap is empty
    answer = calibrated(denoiser).infill(proposing(("  ", 50.0)))
    assert (texts(answer), answer.choices[0].confidence, denoiser.scored) == ([""], 0.0, [])


def test_many_tokens_are_judged_in_pieces_and_may_be_given_up_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser = liker()
    engine = calibrated(denoiser)
    monkeypatch.setattr(type(engine), "_piece", 60)
    proposals = [(RIGHT[:-1] + letter, 0.0) for letter in "abcdefgx"]
    filling = begun(engine, proposing(*proposals))
    while not denoiser.scored:
        engine.advance([filling])
    assert filling.outcome is None
    assert 0 < sum(map(len, denoiser.scored[0])) <= 60
    engine.advance([filling])
    assert len(denoiser.scored) == 2
    assert not denoiser.canvases
    engine.abandon(filling)
    assert isinstance(filling.outcome, EngineError)
    engine.advance([filling])
    assert len(denoiser.scored) == 2
    again = engine.infill(proposing(*proposals, n=8))
    assert sum(choice.proposed for choice in again.choices) == 7


def test_cancelled_before_the_fill_is_judged() -> None:
    denoiser = liker()
    engine = calibrated(denoiser)
    with pytest.raises(Cancelled):
        engine.infill(asking(TEXT[:START]), cancelled=lambda: len(denoiser.canvases) > 3)
    assert not denoiser.scored


def test_side_by_side_each_gets_what_it_gets_alone() -> None:
    requests = [proposing((RIGHT, 0.0)), proposing((WRONG, 0.8), n=2), asking(TEXT[: START + 7])]
    engine = calibrated(liker())
    together = finish(engine, *(begun(engine, request) for request in requests))
    for request, found in zip(requests, together, strict=True):
        assert isinstance(found, InfillResult)
        assert found.choices == calibrated(liker()).infill(request).choices


def test_a_deadline_that_has_passed_leaves_the_proposals() -> None:
    denoiser = liker()
    engine = calibrated(denoiser)
    (answer,) = finish(engine, begun(engine, proposing((WRONG, 0.0)), deadline=time.monotonic() - 1))
    assert isinstance(answer, InfillResult)
    assert (texts(answer), answer.choices[0].finish_reason) == ([WRONG], FinishReason.DEADLINE)
    assert not denoiser.canvases


def test_a_deadline_that_passes_while_encoding_is_not_judged() -> None:
    denoiser = liker()
    engine = calibrated(denoiser)
    request = replace(asking(long_text(1300)), proposals=(Proposal(RIGHT, 9.0),))
    (answer,) = finish(engine, begun(engine, request, deadline=time.monotonic() - 1))
    assert isinstance(answer, InfillResult)
    assert (texts(answer), answer.choices[0].confidence) == ([""], 0.0)
    assert not denoiser.scored


def test_a_gap_of_several_canvases_is_judged_behind_its_first_prompt() -> None:
    denoiser = liker(end=len(TEXT))
    answer = calibrated(denoiser).infill(asking(TEXT[:START], max_tokens=60))
    assert texts(answer) == [TEXT[START:]]
    assert answer.choices[0].confidence > 0.4
    assert len(denoiser.scored) == 1


def test_no_number_breaks_the_model() -> None:
    denoiser = liker()
    engine = calibrated(denoiser)
    denoiser.scores = lambda prompt, row: [math.nan] * (len(row) - 1)
    with pytest.raises(ModelBroken, match="not a number"):
        engine.infill(proposing((RIGHT, 0.0)))


def test_out_of_memory_is_tried_again_with_less() -> None:
    failures = iter([True, True])
    denoiser = liker()
    engine = calibrated(denoiser)

    def scores(prompt: FakePrompt, row: Sequence[int]) -> list[float]:
        if next(failures, False):
            raise torch.OutOfMemoryError
        return liking(prompt, row)

    denoiser.scores = scores
    assert texts(engine.infill(proposing((RIGHT, 0.0)))) == [RIGHT]
    assert denoiser.released > 0
