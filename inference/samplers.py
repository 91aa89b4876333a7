"""Samplers: which predictions of a denoising step are kept, and what noise takes the place of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

NoiseRange = tuple[int, int]
"""Noise is uniform over the token ids [low, high)."""

Draw = Callable[[torch.Tensor, torch.Generator | None], torch.Tensor]
"""Draws one token id per position, (B, C) int64, from logits (B, C, V)."""


def draw_by_inversion(logits: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Invert the cumulative distribution at one random number per position."""
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
    uniform = torch.rand(*logits.shape[:2], 1, device=logits.device, generator=generator)
    # strictly greater, so that a token of probability 0 is never drawn
    drawn = torch.searchsorted(cumulative, uniform * cumulative[..., -1:], right=True).squeeze(-1)
    return drawn.clamp(max=logits.shape[-1] - 1)


def draw_as_transformers(logits: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """``torch.multinomial``: V random numbers per position, which on a CPU cost more than a small model's forward."""
    probabilities = logits.softmax(dim=-1).flatten(0, 1)
    drawn: torch.Tensor = torch.multinomial(probabilities, num_samples=1, generator=generator)
    return drawn.view(logits.shape[:2])


class Sampler(Protocol):
    """Starts a canvas from noise, accepts part of each prediction, renoises the rest. Holds no state between calls."""

    def initialize(
        self, shape: tuple[int, int], noise: NoiseRange, device: torch.device, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return a canvas of noise, (B, C) int64."""

    def accept(
        self, canvas: torch.Tensor, candidates: torch.Tensor, entropy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose between ``canvas`` and the sampled ``candidates``, both (B, C) int64, by ``entropy`` (B, C) in nats.

        Returns the canvas with the accepted candidates and the mask of accepted positions, (B, C) bool.
        """

    def renoise(
        self, canvas: torch.Tensor, accepted: torch.Tensor, noise: NoiseRange, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return ``canvas`` (B, C) with fresh noise wherever ``accepted`` (B, C) bool is False."""


@dataclass(frozen=True)
class EntropyBoundSampler:
    """Accepts the most certain positions while their joint dependence stays bounded (arXiv 2505.24857).

    In ascending order of entropy, a position is accepted while the entropies *before* it sum to at most
    ``entropy_bound`` nats: that sum bounds the mutual information among the accepted tokens, so they may be sampled
    independently. The least entropic position is therefore always accepted, and certain ones cost nothing.
    """

    entropy_bound: float

    def __post_init__(self) -> None:
        if not self.entropy_bound > 0:
            raise ValueError(f"entropy_bound must be greater than 0, not {self.entropy_bound}")

    def initialize(
        self, shape: tuple[int, int], noise: NoiseRange, device: torch.device, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return uniform noise, (B, C) int64."""
        low, high = noise
        return torch.randint(low, high, shape, device=device, generator=generator)

    def accept(
        self, canvas: torch.Tensor, candidates: torch.Tensor, entropy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Accept candidates in ascending entropy up to the bound; see :meth:`Sampler.accept`."""
        ascending, order = torch.sort(entropy, dim=-1)
        within_bound = torch.cumsum(ascending, dim=-1) - ascending <= self.entropy_bound
        accepted = torch.zeros_like(within_bound).scatter(-1, order, within_bound)
        return torch.where(accepted, candidates, canvas), accepted

    def renoise(
        self, canvas: torch.Tensor, accepted: torch.Tensor, noise: NoiseRange, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Put uniform noise wherever nothing was accepted; see :meth:`Sampler.renoise`."""
        rows, length = canvas.shape
        fresh = self.initialize((rows, length), noise, canvas.device, generator)
        return torch.where(accepted, canvas, fresh)
