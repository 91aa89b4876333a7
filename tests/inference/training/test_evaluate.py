import math
from pathlib import Path

import pytest

from inference.training.corpus import Document
from inference.training.denoise import Fill
from inference.training.evaluate import (
    Case,
    Outcome,
    confidence_floor,
    draw_cases,
    evaluate,
    judge,
    precision_table,
    prompt,
    render,
    summary,
)
from inference.training.export import DEFAULT_FOLDER, read_sampling
from inference.training.tokenizer import InfillSpec, load_tokenizer

SOURCE = Path(__file__).read_text()
DOCUMENTS = [Document(package, "a.py", "python", SOURCE) for package in ("one", "two")]
CASE = Case("line", "python", "p/a.py", "def f(x):\n    return ", "x + 1", "\n")


def outcome(confidence: float, exact: bool, text: str = "x") -> Outcome:
    return Outcome(CASE, Fill([], True, confidence, 4), text, exact, 0.5, True)


def test_cases_are_seeded_spread_over_packages_and_never_empty() -> None:
    cases = draw_cases(DOCUMENTS, "node", "python", 20, seed=3)
    assert cases == draw_cases(DOCUMENTS, "node", "python", 20, seed=3)
    assert cases != draw_cases(DOCUMENTS, "node", "python", 20, seed=4)
    assert sum(case.path.startswith("one/") for case in cases) == 10
    for case in cases:
        assert case.gap.strip()
        assert case.prefix + case.gap + case.suffix == SOURCE


def test_a_prompt_fits_the_checkpoint() -> None:
    tokenizer, spec = load_tokenizer(DEFAULT_FOLDER), InfillSpec.load(DEFAULT_FOLDER)
    long = Case("line", "python", "p", SOURCE * 4, "x", SOURCE * 4)
    assert len(prompt(long, tokenizer, spec)) == spec.max_prompt_tokens
    assert prompt(CASE, tokenizer, spec)[:3] == [spec.bos, spec.languages["python"], spec.suffix]


@pytest.mark.parametrize(
    ("text", "closed", "exact", "parses"),
    [
        ("x + 1", True, True, True),
        ("x + 1  ", True, True, True),
        ("x + 1", False, False, True),
        ("x + (", True, False, False),
    ],
)
def test_judging_a_fill(text: str, closed: bool, exact: bool, parses: bool) -> None:
    tokenizer = load_tokenizer(DEFAULT_FOLDER)
    fill = Fill(tokenizer.encode(text).ids, closed, 0.5, 3)
    judged = judge(CASE, fill, tokenizer)
    assert (judged.text, judged.exact, judged.parses) == (text, exact, parses)
    assert 0.5 < judged.similarity <= 1.0


def test_the_summary_counts() -> None:
    row = summary([outcome(0.9, True), outcome(0.1, False)])
    assert row["exact"] == 0.5
    assert row["parses"] == 1.0
    assert row["steps"] == 4


def test_the_floor_is_where_precision_is_reached_and_kept() -> None:
    outcomes = [
        outcome(0.92, True),
        outcome(0.81, True),
        outcome(0.71, False),
        outcome(0.31, True),
        outcome(0.11, False),
    ]
    table = precision_table(outcomes)
    assert table[0][1:] == (0.6, 1.0)
    assert confidence_floor(table, 0.7) == pytest.approx(0.75)
    assert confidence_floor(table, 0.6) == 0.0


def test_without_precision_the_model_stays_silent() -> None:
    assert confidence_floor(precision_table([outcome(0.9, False)]), 0.5) == 1.0


def test_an_empty_fill_is_silence() -> None:
    precision, share = precision_table([outcome(0.9, False, text=" ")])[0][1:]
    assert math.isnan(precision)
    assert share == 0.0


def test_the_report_sets_steps_against_quality(toy_checkpoint: Path) -> None:
    report = evaluate(toy_checkpoint, DOCUMENTS, read_sampling(toy_checkpoint), 2, 0)
    assert list(report["steps"]) == [1, 2, 4, 8, 16]
    assert report["steps"][1]["steps"] == 1.0
    assert all(row["steps"] <= most and row["gaps"] == 2 for most, row in report["steps"].items())
    table = render(report)
    assert "| at most so many steps | taken, mean | exact |" in table
    assert "| 1 | 1.0 |" in table
