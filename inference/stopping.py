"""When a canvas row needs no further denoising step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


class Stopping(Protocol):
    """Decides row by row from the step just done. Holds no state between calls."""

    def __call__(
        self, unchanged: torch.Tensor, entropy: torch.Tensor, pinned: torch.Tensor, decisive: torch.Tensor
    ) -> torch.Tensor:
        """Return which rows are settled, (B,) bool.

        ``unchanged`` (B, C) int64: for how many steps in a row the argmax at a position has stayed what it is;
        ``entropy`` (B, C) in nats, of the temperature-scaled logits; ``pinned`` (B, C) bool: the given positions;
        ``decisive`` (B, C) bool: the positions that count, all of them unless the format says otherwise.
        """


@dataclass(frozen=True)
class StableAndConfident:
    """Stops when the argmax has not moved for ``stability_threshold`` steps and the mean entropy is small.

    ``confidence_threshold`` is in nats, a mean over the decisive positions. Pinned positions have no entropy and would
    dilute that mean, so the threshold shrinks with the share of free ones.
    """

    stability_threshold: int
    confidence_threshold: float

    def __post_init__(self) -> None:
        if self.stability_threshold < 0 or not self.confidence_threshold > 0:
            raise ValueError("stability_threshold must be at least 0 and confidence_threshold greater than 0")

    def __call__(
        self, unchanged: torch.Tensor, entropy: torch.Tensor, pinned: torch.Tensor, decisive: torch.Tensor
    ) -> torch.Tensor:
        """Return which rows are stable and confident, (B,) bool; see :meth:`Stopping.__call__`."""
        stable = ((unchanged >= self.stability_threshold) | ~decisive).all(dim=-1)
        counted = decisive.sum(dim=-1)
        free = (decisive & ~pinned).sum(dim=-1)
        mean_entropy = (entropy * decisive).sum(dim=-1) / counted
        return stable & ((mean_entropy < self.confidence_threshold * (free / counted)) | (free == 0))
