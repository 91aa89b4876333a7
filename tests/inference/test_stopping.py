"""Stable and confident, over the positions that count."""

import pytest
import torch

from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature

NOTHING = torch.zeros(1, 4, dtype=torch.bool)
ALL = torch.ones(1, 4, dtype=torch.bool)


def stops(
    unchanged: list[int],
    entropy: list[float],
    *,
    pinned: torch.Tensor = NOTHING,
    decisive: torch.Tensor = ALL,
    stability: int = 2,
    confidence: float = 0.1,
) -> bool:
    (settled,) = StableAndConfident(stability, confidence)(
        torch.tensor([unchanged]), torch.tensor([entropy]), pinned, decisive
    ).tolist()
    return bool(settled)


def test_stable_and_confident() -> None:
    assert stops([2, 2, 3, 2], [0.0, 0.1, 0.1, 0.1])
    assert not stops([2, 2, 1, 2], [0.0, 0.1, 0.1, 0.1])
    assert not stops([2, 2, 3, 2], [0.1, 0.1, 0.1, 0.2])
    assert stops([0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0], stability=0)


def test_the_threshold_shrinks_with_the_free_share() -> None:
    half = torch.tensor([[True, True, False, False]])
    assert stops([2] * 4, [0.0, 0.0, 0.09, 0.09], pinned=half)
    assert not stops([2] * 4, [0.0, 0.0, 0.11, 0.11], pinned=half)
    assert stops([2] * 4, [0.0] * 4, pinned=ALL)


def test_only_decisive_positions_count() -> None:
    first = torch.tensor([[True, False, False, False]])
    assert stops([2, 0, 0, 0], [0.05, 9.0, 9.0, 9.0], decisive=first)
    assert not stops([2, 0, 0, 0], [0.15, 0.0, 0.0, 0.0], decisive=first)
    assert not stops([1, 2, 2, 2], [0.0] * 4, decisive=first)


def test_the_temperature_falls_linearly() -> None:
    schedule = LinearTemperature(0.4, 0.8)
    assert schedule.schedule(4).tolist() == pytest.approx([0.8, 0.7, 0.6, 0.5])


@pytest.mark.parametrize(("t_min", "t_max"), [(0.0, 0.8), (0.9, 0.8), (-1.0, 0.5)])
def test_temperatures_are_checked(t_min: float, t_max: float) -> None:
    with pytest.raises(ValueError, match="t_min"):
        LinearTemperature(t_min, t_max)


def test_thresholds_are_checked() -> None:
    with pytest.raises(ValueError, match="stability_threshold"):
        StableAndConfident(-1, 0.1)
    with pytest.raises(ValueError, match="confidence_threshold"):
        StableAndConfident(1, 0.0)
