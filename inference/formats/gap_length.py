"""Choosing between gap lengths: the lengths to try, and a confidence that lengths may be compared by.

The mean log p of a fill favours short gaps, whatever the text (arXiv 2602.00476, 2602.07546). How much depends on the
model, so the correction is fitted on gaps of known length by ``python -m inference.training.length_calibration``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE_NAME = "gap_length.json"


def ladder(longest: int, *, sparse: bool = False) -> list[int]:
    """The lengths to try for a gap of at most ``longest`` tokens: two per doubling (``sparse``: one), and
    ``longest``."""
    lengths = {2**power for power in range(longest.bit_length())}
    if not sparse:
        lengths |= {3 * length // 2 for length in lengths}
    return sorted({length for length in lengths if length < longest} | {longest})


@dataclass(frozen=True)
class LengthConfidence:
    """P(the gap has this length | mean log p x, length L) = sigmoid((slope + slope_log ln L) x - B(L)), where
    B(L) = bias + bias_log ln L + bias_log2 (ln L)^2.

    A mean over more tokens tells more: hence the slope grows with L.
    """

    slope: float
    slope_log: float
    bias: float
    bias_log: float
    bias_log2: float

    def __call__(self, mean_log_p: float, length: int) -> float:
        """0..1, rising with ``mean_log_p``; ``length`` in tokens, at least 1."""
        log_length = math.log(length)
        bias = self.bias + self.bias_log * log_length + self.bias_log2 * log_length**2
        logit = (self.slope + self.slope_log * log_length) * mean_log_p - bias
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))

    @classmethod
    def load(cls, folder: Path) -> LengthConfidence | None:
        """Read ``gap_length.json``; None where the folder has none. Raises ValueError, which names file and field."""
        path = folder / FILE_NAME
        if not path.exists():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read as JSON ({error})") from error
        names = [field.name for field in fields(cls)]
        if not isinstance(data, dict) or sorted(data) != sorted(names):
            raise ValueError(f"{path}: must hold an object with the fields {', '.join(names)}, and no others")
        for name, value in data.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{path}: field '{name}' must be a number")
        if data["slope"] < 0 or data["slope_log"] < 0:
            raise ValueError(f"{path}: fields 'slope' and 'slope_log' must be at least 0: likelier is never worse")
        return cls(**{name: float(value) for name, value in data.items()})

    def save(self, folder: Path) -> None:
        """Write ``gap_length.json`` into ``folder``."""
        (folder / FILE_NAME).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def raw_confidence(mean_log_p: float, length: int) -> float:
    """exp(mean log p), for a model whose bias towards short gaps nobody has measured."""
    return min(1.0, math.exp(mean_log_p))
