"""The few figures that a benchmark is told in."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of ``values`` that at least ``percent`` percent of them do not exceed; not a number if none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def share(part: float, whole: float) -> float:
    """``part`` of ``whole``; not a number if there is no whole."""
    return part / whole if whole else math.nan
