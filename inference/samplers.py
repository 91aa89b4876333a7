"""Samplers: which predictions of a denoising step are kept, and what noise takes the place of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

NoiseRange = tuple[int, int]
"""Noise is uniform over the token ids [low, high)."""


class Draw(Protocol):
    """Draws one token per position from its probabilities. Its random numbers come apart from them, so that a request
    gets the same ones whoever shares its forward, and whichever of its positions are pinned."""

    def numbers(
        self, shape: tuple[int, int], vocab_size: int, device: torch.device, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return the random numbers of every position of a canvas of ``shape`` (B, C), (B, C, R) float32."""

    def __call__(self, probabilities: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Draw token ids (F,) int64 from ``probabilities`` (F, V) with ``numbers`` (F, R)."""


@dataclass(frozen=True)
class InversionDraw:
    """Inverts the cumulative distribution at one random number per position: first among blocks of tokens, then in one
    block, so that nothing as large as the probabilities is summed up or written."""

    def numbers(
        self, shape: tuple[int, int], vocab_size: int, device: torch.device, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return uniform numbers, (B, C, 1)."""
        return torch.rand(*shape, 1, device=device, generator=generator)

    def __call__(self, probabilities: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Draw; see :meth:`Draw.__call__`."""
        size = 1 << (probabilities.shape[-1].bit_length() // 2)
        padded = functional.pad(probabilities, (0, -probabilities.shape[-1] % size))
        blocks = padded.view(len(padded), padded.shape[-1] // size, size)
        sums = blocks.sum(dim=-1)
        block, rest = _inverted(sums, numbers * sums.sum(dim=-1, keepdim=True))
        within, _ = _inverted(blocks.gather(1, block[..., None].expand(-1, -1, size)).squeeze(1), rest)
        return (block * size + within).squeeze(-1).clamp(max=probabilities.shape[-1] - 1)


def _inverted(weights: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the running sum of ``weights`` (F, N) first exceeds ``target`` (F, 1), and by how much ``target`` exceeds
    the sum before, both (F, 1). Never where the weight is 0."""
    sums = weights.cumsum(dim=-1)
    whole, nothing = sums[:, -1:], torch.zeros_like(target)
    below = torch.nextafter(whole, nothing)  # by rounding the target may lie outside the sums
    target = torch.minimum(target.clamp(min=0), below)
    index = torch.searchsorted(sums, target, right=True).clamp(max=weights.shape[-1] - 1)
    return index, target - (sums.gather(-1, index) - weights.gather(-1, index))


@dataclass(frozen=True)
class ExponentialDraw:
    """The token with the greatest p / q, q exponential: what ``torch.multinomial`` does, and so transformers.

    V random numbers per position, which on a CPU cost more than a small model's forward.
    """

    def numbers(
        self, shape: tuple[int, int], vocab_size: int, device: torch.device, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return exponential numbers, (B, C, V)."""
        return torch.empty(*shape, vocab_size, device=device).exponential_(generator=generator)

    def __call__(self, probabilities: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Draw; see :meth:`Draw.__call__`."""
        return (probabilities / numbers).argmax(dim=-1)


class Sampler(Protocol):
    """Makes noise, accepts part of each prediction, renoises the rest. Holds no state between calls."""

    def noise(
        self, shape: tuple[int, int], within: NoiseRange, device: torch.device, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return a canvas of noise, (B, C) int64."""

    def accept(
        self, canvas: torch.Tensor, candidates: torch.Tensor, entropy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose between ``canvas`` and the sampled ``candidates``, both (B, C) int64, by ``entropy`` (B, C) in nats.

        Returns the canvas with the accepted candidates and the mask of accepted positions, (B, C) bool.
        """

    def renoise(self, canvas: torch.Tensor, accepted: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return ``canvas`` (B, C) with fresh ``noise`` (B, C) wherever ``accepted`` (B, C) bool is False."""


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

    def noise(
        self, shape: tuple[int, int], within: NoiseRange, device: torch.device, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return uniform noise, (B, C) int64."""
        low, high = within
        return torch.randint(low, high, shape, device=device, generator=generator)

    def accept(
        self, canvas: torch.Tensor, candidates: torch.Tensor, entropy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Accept candidates in ascending entropy up to the bound; see :meth:`Sampler.accept`."""
        ascending, order = torch.sort(entropy, dim=-1)
        within_bound = torch.cumsum(ascending, dim=-1) - ascending <= self.entropy_bound
        accepted = torch.zeros_like(within_bound).scatter(-1, order, within_bound)
        return torch.where(accepted, candidates, canvas), accepted

    def renoise(self, canvas: torch.Tensor, accepted: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Put noise wherever nothing was accepted; see :meth:`Sampler.renoise`."""
        return torch.where(accepted, canvas, noise)
