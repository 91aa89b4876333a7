"""The calibration in infill.json: what it says, and what is wrong with a damaged one."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.checkpoint import EMBEDDED
from inference.formats.calibration import FEATURES, Calibration, Coefficients, Features
from inference.formats.infill_spec import InfillSpec

CALIBRATION = Calibration(0.7, Coefficients(bias=-1.0, evidence=0.5, mean=2.0), Coefficients(bias=-5.0, canvas=1.5))
GOOD = {"floor": 0.7, "proposal": {"bias": -1.0}, "fill": {}}


def test_a_probability_is_the_logistic_of_the_sum() -> None:
    features = Features(evidence=2.0, mean=-0.25, text=-30.0)
    assert CALIBRATION.proposal.probability(features) == pytest.approx(1 / (1 + math.exp(0.5)))
    assert CALIBRATION.fill.probability(Features(canvas=-1e9)) == pytest.approx(0.0, abs=1e-300)
    for name in FEATURES:
        weighed = Coefficients(**{name: 1.0}).probability(Features(**{name: 2.0}))
        assert weighed == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    spec = replace(InfillSpec.load(EMBEDDED), calibration=CALIBRATION)
    spec.save(tmp_path)
    assert InfillSpec.load(tmp_path) == spec
    replace(spec, calibration=None).save(tmp_path)
    assert InfillSpec.load(tmp_path).calibration is None
    assert "calibration" not in json.loads((tmp_path / "infill.json").read_text())


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ([], r"field 'calibration' must be an object with floor, proposal, fill"),
        ({"floor": 0.7, "fill": {}}, r"field 'calibration' must be an object"),
        (GOOD | {"more": 1}, r"field 'calibration' must be an object"),
        (GOOD | {"floor": 1.5}, r"field 'calibration.floor' is 1.5, expected 0 to 1"),
        (GOOD | {"floor": True}, r"field 'calibration.floor' must be a number"),
        (GOOD | {"proposal": {"luck": 1}}, r"field 'calibration.proposal' must be an object with some of evidence"),
        (GOOD | {"fill": {"bias": "high"}}, r"field 'calibration.fill.bias' must be a number"),
        (GOOD | {"fill": {"bias": math.inf}}, r"field 'calibration.fill.bias' must be a number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, damaged: Any, message: str) -> None:
    InfillSpec.load(EMBEDDED).save(tmp_path)
    path = tmp_path / "infill.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"calibration": damaged}))
    with pytest.raises(ValueError, match=message):
        InfillSpec.load(tmp_path)
