"""The temperature schedule of denoising."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LinearTemperature:
    """Falls linearly from ``t_max`` at the first step towards ``t_min``, which a step 0 would have."""

    t_min: float
    t_max: float

    def __post_init__(self) -> None:
        if not 0 < self.t_min <= self.t_max:
            raise ValueError(f"temperatures must satisfy 0 < t_min <= t_max, not {self.t_min} and {self.t_max}")

    def schedule(self, steps: int) -> torch.Tensor:
        """The temperatures of all steps from the first to the last, (steps,) float32."""
        # float32 throughout, as transformers computes it: in float64 the last bit of the logits would differ
        remaining = torch.tensor([left / steps for left in range(steps, 0, -1)], dtype=torch.float32)
        return self.t_min + (self.t_max - self.t_min) * remaining
