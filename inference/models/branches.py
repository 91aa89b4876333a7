"""Several continuations of one prompt in one causal forward: laid behind each other, each sees the prompt and itself.

The mask of a tree of drafts (arXiv 2305.09781), here a bush: no padding, and the prompt's keys are there once. Letters
in shapes: T tokens of all branches together, P prompt tokens, G key/value heads, E head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class BranchRoom:
    """Keys and values (1, G, P, E) of a prompt, which stay as they are; those of the branches follow in a copy."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values

    def followed_by(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The prompt's, then ``keys`` and ``values`` (1, G, T, E) of the branches."""
        return torch.cat((self._keys, keys), dim=2), torch.cat((self._values, values), dim=2)


@dataclass(frozen=True)
class Branches:
    """``positions`` (T,) in the document, ``numbers`` (T,) of the branches that tokens belong to."""

    start: int
    positions: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], start: int, device: torch.device) -> Branches:
        """Branches of these ``lengths``, all behind the first ``start`` tokens of a prompt."""
        positions = [start + at for length in lengths for at in range(length)]
        numbers = [number for number, length in enumerate(lengths) for _ in range(length)]
        return cls(start, torch.tensor(positions, device=device), torch.tensor(numbers, device=device))

    def visible(self, window: int | None = None) -> Tensor:
        """Which keys a token sees: the last ones of the prompt and all of the branches, (T, P or window - 1 + T)."""
        seen = self.start if window is None else min(self.start, window - 1)
        before = torch.arange(self.start - seen, self.start, device=self.positions.device)
        distance = self.positions[:, None] - torch.cat((before, self.positions))
        own = self.numbers[:, None] == self.numbers
        mine = torch.cat((torch.ones_like(own[:, :1]).expand(-1, seen), own), dim=1)
        near = distance >= 0 if window is None else (distance >= 0) & (distance < window)
        return near & mine
