import math

from lsp_server.bench.calibration import Band, Gate, confidence_curve, gates
from lsp_server.bench.figures import percentile, share
from lsp_server.bench.infilling import Outcome


def outcome(confidence: float, passed: bool, *, spoke: bool = True) -> Outcome:
    return Outcome("a", "", spoke, passed, False, "", confidence, 0.2, 4, 10.0)


OUTCOMES = [outcome(0.15, False), outcome(0.55, False), outcome(0.59, True), outcome(1.0, True)]


def test_the_curve_tells_how_often_each_band_is_right() -> None:
    silent = outcome(0.0, False, spoke=False)
    assert confidence_curve([*OUTCOMES, silent]) == [
        Band(0.1, 0.2, 1, 0.0),
        Band(0.5, 0.6, 2, 0.5),
        Band(0.9, 1.0, 1, 1.0),
    ]


def test_a_gate_trades_coverage_for_precision() -> None:
    silent = outcome(0.0, False, spoke=False)
    assert gates([*OUTCOMES, silent], (0.0, 0.56, 1.1)) == [Gate(0.0, 0.8, 0.5), Gate(0.56, 0.4, 1.0)]


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 50) == 7.0
    assert math.isnan(percentile([], 50))
    assert math.isnan(share(0, 0))
