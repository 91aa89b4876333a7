"""Fitting probabilities to texts that are known to be right or wrong, and the cases that they are fitted on."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from inference.checkpoint import Checkpoint
from inference.formats.calibration import Calibration, Coefficients, Features
from inference.formats.infill_spec import InfillSpec
from inference.training import score_calibration as calibration
from inference.training.arguments import parse
from inference.training.commands import calibrate
from inference.training.score_calibration import Observation, best, fit, floor_for, read_cases
from tests.inference.engines.test_judged import RIGHT, WRONG, liker
from tests.inference.engines.test_local_filling import SETTINGS, START, TEXT
from tests.support.fake_format import FakeFormat
from tests.support.tiny_checkpoint import write_tiny_checkpoint

CASE = {
    "prefix": TEXT[:START],
    "suffix": "  # the",
    "language_id": "python",
    "truth": RIGHT,
    "max_tokens": 15,
    "proposals": [{"text": WRONG, "evidence": 1}, {"text": RIGHT + " ", "evidence": -1.5}],
}


def written(path: Path, *cases: object) -> Path:
    path.write_text("".join(json.dumps(case) + "\n" for case in cases))
    return path


def drawn(count: int, true: Coefficients, seed: int, proposed: bool = True) -> list[Observation]:
    rng = random.Random(seed)
    found = []
    for number in range(count):
        features = Features(evidence=rng.gauss(-1, 2), mean=-rng.random() * 5, text=-rng.random() * 40)
        found.append(Observation(number // 2, proposed, features, rng.random() < true.probability(features)))
    return found


def test_the_fit_finds_what_the_texts_were_drawn_by() -> None:
    true = Coefficients(bias=0.5, evidence=0.8, mean=1.2)
    found = fit(drawn(8000, true, seed=0))
    assert found.bias == pytest.approx(0.5, abs=0.25)
    assert found.evidence == pytest.approx(0.8, abs=0.1)
    assert found.mean == pytest.approx(1.2, abs=0.1)
    assert found.text == pytest.approx(0.0, abs=0.02)
    assert found.agrees == found.canvas == 0.0  # never seen
    assert fit(drawn(8000, true, seed=0), ("evidence",)).mean == 0.0


@pytest.mark.parametrize("right", [True, False])
def test_texts_that_are_all_alike_leave_a_bias_alone(right: bool) -> None:
    found = fit([Observation(number, False, Features(text=-number), right) for number in range(50)])
    assert found == Coefficients(bias=pytest.approx(math.log(50.5 / 0.5) * (1 if right else -1)))


def test_the_floor_is_the_lowest_that_keeps_the_precision() -> None:
    shown = [(0.9, True), (0.8, False), (0.7, True), (0.6, True), (0.5, False), (0.4, False)]
    assert floor_for(shown, 0.7) == 0.6
    assert floor_for(shown, 0.5) == 0.4
    assert floor_for(shown, 0.8) == 0.9
    assert floor_for([(0.9, False)], 0.7) == 1.0


def test_only_the_surest_text_of_a_gap_is_shown() -> None:
    judge = Calibration(0.0, Coefficients(evidence=1.0), Coefficients(bias=0.5))
    seen = [
        Observation(0, True, Features(evidence=0.0), False),
        Observation(0, False, Features(), True),
        Observation(1, True, Features(evidence=3.0), True),
    ]
    (first, second) = best(seen, judge)
    assert (first[1], second[1]) == (True, True)
    assert first[0] > second[0] > 0.5


def test_a_case_is_judged_as_the_engine_does_it(tmp_path: Path) -> None:
    (case,) = read_cases(written(tmp_path / "cases.jsonl", CASE))
    checkpoint = Checkpoint("fake", liker(), FakeFormat(), SETTINGS)
    seen = calibration.observe(checkpoint, case, 0)
    by_evidence = {one.features.evidence: one for one in seen}
    assert sorted(by_evidence) == [-1.5, 0.0, 1.0]
    assert [by_evidence[evidence].right for evidence in (-1.5, 0.0, 1.0)] == [True, True, False]
    assert [by_evidence[evidence].proposed for evidence in (-1.5, 0.0, 1.0)] == [True, False, True]
    assert by_evidence[0.0].features.text == pytest.approx(-0.01 * len(RIGHT))
    assert by_evidence[1.0].features.text < -8
    assert not [one for one in calibration.observe(checkpoint, case, 0, canvas=False) if not one.proposed]


@pytest.mark.parametrize("damaged", [[], {}, CASE | {"max_tokens": 0}, CASE | {"proposals": [{"text": "a"}]}])
def test_a_damaged_case_is_named(tmp_path: Path, damaged: object) -> None:
    path = written(tmp_path / "cases.jsonl", CASE, damaged)
    with pytest.raises(ValueError, match=r"cases\.jsonl, line 2: is not a case"):
        read_cases(path)
    assert len(read_cases(written(path, CASE, CASE), limit=1)) == 1
    with pytest.raises(ValueError, match="holds no case"):
        read_cases(written(tmp_path / "none.jsonl"))


def test_the_report_compares_with_each_side_alone() -> None:
    true = Coefficients(bias=1.0, evidence=1.0, mean=1.0)
    seen, unseen = drawn(2000, true, seed=1), drawn(600, true, seed=2)
    lines = "\n".join(calibration.report(seen, unseen, 300, 0.7))
    rows = {
        line.split(" | ")[0].strip("| "): line.split(" | ")
        for line in lines.splitlines()
        if "alone" in line or "both" in line
    }
    spoken = {name: float(row[2].rstrip("%")) for name, row in rows.items()}
    assert spoken["both"] > max(spoken["evidence alone"], spoken["model alone"])
    assert "0.9 to 1.0" in lines


def test_the_command_writes_the_calibration_into_the_checkpoint(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "tiny")
    cases = [CASE | {"truth": truth} for truth in (RIGHT, "never", RIGHT, "so")]
    file = str(written(tmp_path / "cases.jsonl", *cases))
    before = InfillSpec.load(folder)
    line = ["calibrate", "--cases", file, "--held-out", file, "--out", str(folder), "--gaps", "3", "--canvases", "2"]
    calibrate(parse(line))
    after = InfillSpec.load(folder)
    assert after.calibration is not None
    assert 0 <= after.calibration.floor <= 1
    assert replace(after, calibration=None) == before
