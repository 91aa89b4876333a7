"""Lengths to try, and the curve that makes them comparable."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.formats.gap_length import LengthConfidence, ladder, raw_confidence

CURVE = LengthConfidence(slope=2.0, slope_log=1.0, bias=-1.0, bias_log=-2.0, bias_log2=0.5)


@pytest.mark.parametrize(
    ("longest", "lengths"),
    [(1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5]), (24, [1, 2, 3, 4, 6, 8, 12, 16, 24])],
)
def test_the_ladder_has_two_lengths_per_doubling(longest: int, lengths: list[int]) -> None:
    assert ladder(longest) == lengths


def test_a_sparse_ladder_has_one() -> None:
    assert ladder(24, sparse=True) == [1, 2, 4, 8, 16, 24]


@given(st.integers(1, 300))
def test_no_length_is_far_from_one_that_is_tried(longest: int) -> None:
    lengths = ladder(longest)
    assert lengths == sorted(set(lengths))
    assert (lengths[0], lengths[-1]) == (1, longest)
    for length in range(1, longest + 1):
        assert min(max(length, tried) / min(length, tried) for tried in lengths) <= 1.25


@given(st.floats(-700, 0), st.integers(1, 256))
def test_confidence_is_the_logistic_curve_of_its_definition(mean_log_p: float, length: int) -> None:
    log = math.log(length)
    logit = (2.0 + log) * mean_log_p - (-1.0 - 2.0 * log + 0.5 * log**2)
    confidence = CURVE(mean_log_p, length)
    assert 0.0 <= confidence <= 1.0
    assert confidence == pytest.approx(0.5 * (1 + math.tanh(logit / 2)), abs=1e-12)
    assert CURVE(mean_log_p - 0.1, length) <= confidence


def test_raw_confidence_knows_no_length() -> None:
    assert raw_confidence(math.log(0.5), 1) == raw_confidence(math.log(0.5), 99) == pytest.approx(0.5)


def test_what_is_saved_loads_again(tmp_path: Path) -> None:
    assert LengthConfidence.load(tmp_path) is None
    CURVE.save(tmp_path)
    assert LengthConfidence.load(tmp_path) == CURVE


GOOD = {"slope": 2.0, "slope_log": 1.0, "bias": -1, "bias_log": 0.5, "bias_log2": 0}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ([], "must hold an object with the fields slope"),
        (GOOD | {"colour": 1}, "and no others"),
        ({name: value for name, value in GOOD.items() if name != "bias"}, "with the fields"),
        (GOOD | {"bias": "high"}, "field 'bias' must be a number"),
        (GOOD | {"bias": math.inf}, "field 'bias' must be a number"),
        (GOOD | {"bias": True}, "field 'bias' must be a number"),
        (GOOD | {"slope": -1}, "likelier is never worse"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_name(tmp_path: Path, content: Any, reason: str) -> None:
    (tmp_path / "gap_length.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=r"^[^\n]*gap_length\.json: [^\n]*" + reason):
        LengthConfidence.load(tmp_path)
