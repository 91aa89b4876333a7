"""How probable it is that a text for a gap is exactly right, by what may be known of it: a fitted logistic model.

Fitted by ``python -m inference.training calibrate`` on gaps whose text is known, one set of coefficients for texts that
were proposed and one for the model's own fills; it stands in ``infill.json``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

MOST_LEAD = 6.0


@dataclass(frozen=True)
class Features:
    """What is known of a text for a gap; log p are natural, under the causal encoder.

    ``evidence``: the proposal's own, 0 for a fill; ``lead``: how far that is above the best of the others, within
    :data:`MOST_LEAD` either way, and that much for a single one. ``text`` and ``mean``: sum and mean of log p of the
    text's tokens; ``head``: sum of those of the first tokens behind the gap; ``length``: ln(1 + tokens); ``share``: log
    of its share in the probability of all that were judged together, 0 for a single one. ``canvas``: log of a fill's
    canvas confidence; ``agrees``: 1 where a proposal was also filled in by a canvas.
    """

    evidence: float = 0.0
    lead: float = 0.0
    text: float = 0.0
    mean: float = 0.0
    head: float = 0.0
    length: float = 0.0
    share: float = 0.0
    canvas: float = 0.0
    agrees: float = 0.0


FEATURES = tuple(field.name for field in fields(Features))


@dataclass(frozen=True)
class Coefficients(Features):
    """One for each of the :class:`Features`, and ``bias``: log-odds are their sum of products."""

    bias: float = 0.0

    def probability(self, of: Features) -> float:
        """0..1."""
        logit = self.bias + sum(getattr(self, name) * getattr(of, name) for name in FEATURES)
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))


@dataclass(frozen=True)
class Calibration:
    """``floor``: the probability below which nothing should be shown."""

    floor: float
    proposal: Coefficients
    fill: Coefficients

    @classmethod
    def from_json(cls, name: str, value: Any) -> Calibration:
        """Read the field ``name`` of ``infill.json``. Raises ValueError, which names what is wrong."""
        parts = _object(name, value, [field.name for field in fields(cls)])
        floor = _number(f"{name}.floor", parts["floor"])
        if not 0 <= floor <= 1:
            raise ValueError(f"field '{name}.floor' is {floor}, expected 0 to 1")
        return cls(floor, *(_coefficients(f"{name}.{kind}", parts[kind]) for kind in ("proposal", "fill")))

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads; what the fit left out is left out."""
        kinds = {kind: asdict(getattr(self, kind)) for kind in ("proposal", "fill")}
        return {"floor": self.floor} | {kind: {n: v for n, v in of.items() if v} for kind, of in kinds.items()}


def _coefficients(name: str, value: Any) -> Coefficients:
    known = [field.name for field in fields(Coefficients)]
    given = _object(name, value, known, partly=True)
    return Coefficients(**{key: _number(f"{name}.{key}", number) for key, number in given.items()})


def _object(name: str, value: Any, known: list[str], *, partly: bool = False) -> Mapping[str, Any]:
    fits = isinstance(value, dict) and (set(value) <= set(known) if partly else set(value) == set(known))
    if not fits:
        raise ValueError(f"field '{name}' must be an object with {'some of ' if partly else ''}{', '.join(known)}")
    return dict(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"field '{name}' must be a number")
    return float(value)
