"""Bookkeeping of texts that are judged: what is scored, relative to what, and what stands first."""

import math

import pytest

from inference.formats.base import Continuation, Prepared
from inference.formats.calibration import MOST_LEAD, Calibration, Coefficients
from inference.judging import Judging, Verdict
from inference.protocol import EditRequest, Fixed, InfillRequest, Masked, Proposal
from tests.support.fake_format import FakeFormat, tokens

CALIBRATION = Calibration(0.5, Coefficients(text=1.0, evidence=0.1), Coefficients(text=1.0, canvas=1.0))


class RereadingFormat(FakeFormat):
    """Spells the prompt's last two tokens anew with each text."""

    def continuation(self, prepared: Prepared, text: str) -> Continuation | None:
        found = super().continuation(prepared, text)
        shared = len(prepared.prompt_ids) - 3
        return found and Continuation(shared, (*prepared.prompt_ids[shared:-1], *found.token_ids), found.head)


def judging(*proposals: tuple[str, float], kind: FakeFormat | None = None) -> Judging:
    segments = (Fixed("x = "), Masked(9), Fixed(")"))
    request = InfillRequest(segments=segments, proposals=tuple(Proposal(*each) for each in proposals))
    kind = kind or FakeFormat(calibration=CALIBRATION)
    found = Judging.of(kind, kind.prepare(request), request)
    assert found is not None
    return found


def score(judged: Judging, log_p: dict[str, float], at_once: int = 100) -> list[list[Continuation]]:
    """Score everything, each letter as ``log_p`` has it, else -1; return the pieces."""
    by_token = {tokens(letter)[0]: value for letter, value in log_p.items()}
    pieces = []
    while not judged.done:
        pieces.append(judged.waiting(at_once))
        judged.take([[by_token.get(token, -1.0) for token in text.token_ids[1:]] for text in pieces[-1]])
    return pieces


def by_text(judged: Judging) -> dict[str, Verdict]:
    return {verdict.text: verdict for verdict in judged.verdicts()}


def test_what_is_known_of_a_text() -> None:
    judged = judging(("ab", 2.0), ("c", 0.0))
    score(judged, {"a": -0.5, "b": -1.5, "c": -4.0, ")": -0.25})
    features = by_text(judged)["ab"].features
    assert (features.text, features.mean, features.head, features.evidence) == (-2.0, -1.0, -0.25, 2.0)
    assert features.lead == 2.0
    assert by_text(judged)["c"].features.lead == -2.0
    assert features.length == pytest.approx(math.log(3))
    assert features.share == pytest.approx(-math.log(1 + math.exp(-4.0 + 2.0)))
    assert [verdict.text for verdict in judged.verdicts()] == ["ab", "c"]


def test_scores_are_relative_to_how_the_prompt_itself_is_spelt() -> None:
    judged = judging(("ab", 0.0), kind=RereadingFormat(calibration=CALIBRATION))
    (piece,) = score(judged, {"a": -0.5, "b": -0.5, "=": -3.0, " ": -2.0})
    assert [len(text.token_ids) for text in piece] == [3, 6]
    assert by_text(judged)["ab"].features.text == pytest.approx(-1.0)


def test_pieces_hold_no_more_tokens_than_asked_for_but_one_text_at_least() -> None:
    judged = judging(("ab", 0.0), ("cd", 0.0), ("e", 0.0))
    assert [len(piece) for piece in score(judged, {}, at_once=8)] == [2, 1]
    assert [len(piece) for piece in score(judging(("ab", 0.0), ("cd", 0.0)), {}, at_once=1)] == [1, 1]


def test_the_same_proposal_twice_is_one_with_the_better_evidence() -> None:
    judged = judging(("ab", -1.0), ("ab", 3.0), ("ab", 0.0))
    assert len(score(judged, {})[0]) == 1
    features = by_text(judged)["ab"].features
    assert (features.evidence, features.lead) == (3.0, MOST_LEAD)  # nobody else is in sight


def test_a_fill_that_was_proposed_is_scored_once_and_agrees() -> None:
    judged = judging(("ab", 1.0))
    score(judged, {})
    judged.add_fills({"ab": 0.9, "cd": 0.5, "too long a text": 0.9, "": 0.9})
    assert [len(text.token_ids) for text in judged.waiting(100)] == [4]
    score(judged, {})
    found = by_text(judged)
    assert len(judged.verdicts()) == len(found) == 4
    assert (found["ab"].proposed, found["ab"].features.agrees, found["ab"].features.canvas) == (True, 1.0, 0.0)
    assert (found["cd"].proposed, found["cd"].features.canvas) == (False, math.log(0.5))
    assert found["too long a text"].probability == found[""].probability == 0.0


def test_what_cannot_be_judged() -> None:
    kind = FakeFormat(calibration=CALIBRATION)
    several = InfillRequest(segments=(Masked(3), Fixed("x"), Masked(3)))
    edit = EditRequest(selection="x")
    single = InfillRequest(segments=(Masked(3),))
    for request in (several, edit):
        assert Judging.of(kind, kind.prepare(request), request) is None
    assert Judging.of(FakeFormat(), kind.prepare(single), single) is None
