"""Whether confidence means anything: how often it is right, and what a floor under it would let through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lsp_server.bench.figures import share

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class Judged(Protocol):
    """An answer, or silence, that was found right or wrong."""

    @property
    def spoke(self) -> bool:
        """Whether there was an answer."""

    @property
    def confidence(self) -> float:
        """How sure the model was of it, 0..1."""

    @property
    def passed(self) -> bool:
        """Whether it was right."""


@dataclass(frozen=True)
class Band:
    """The gaps answered with a confidence of at least ``low`` and less than ``high`` (1 included in the last)."""

    low: float
    high: float
    gaps: int
    passed: float


@dataclass(frozen=True)
class Gate:
    """With that threshold, the share of all gaps that are answered, and the share of these that pass."""

    threshold: float
    coverage: float
    precision: float


def confidence_curve(outcomes: Sequence[Judged], bands: int = 10) -> list[Band]:
    """Pass rate by confidence, in equal bands; empty ones are left out."""
    curve = []
    for index in range(bands):
        inside = [one for one in outcomes if one.spoke and min(int(one.confidence * bands), bands - 1) == index]
        if inside:
            passed = share(sum(one.passed for one in inside), len(inside))
            curve.append(Band(index / bands, (index + 1) / bands, len(inside), passed))
    return curve


def gates(outcomes: Sequence[Judged], thresholds: Sequence[float] = THRESHOLDS) -> list[Gate]:
    """Precision against coverage, one gate for each threshold that lets anything through."""
    found = []
    for threshold in thresholds:
        spoken = [one for one in outcomes if one.spoke and one.confidence >= threshold]
        if spoken:
            coverage, precision = len(spoken) / len(outcomes), sum(one.passed for one in spoken) / len(spoken)
            found.append(Gate(threshold, coverage, precision))
    return found
