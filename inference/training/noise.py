"""Uniform noise on canvases: the forward process of DiffusionGemma, and what every canvas token weighs in the loss."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

T_MIN = 0.001
PURE_NOISE = 0.15  # share of canvases at t = 1, where every inference starts
CLEAN_WEIGHT = 0.2
PADS_WEIGHT = 1.5  # of all pads of one canvas together (as DreamOn, arXiv 2602.01326, weighs its end tokens)


def noise_levels(batch: int, canvases: int, generator: torch.Generator) -> Tensor:
    """`t` (B, K) in (0.001, 1]: stratified over the batch, the canvases of one prompt spread evenly."""
    draw: dict[str, Any] = {"generator": generator, "device": generator.device}
    strata = (torch.randperm(batch, **draw) + torch.rand(batch, **draw)) / batch
    spread = (strata[:, None] + torch.arange(canvases, device=generator.device) / canvases) % 1.0
    t = T_MIN + (1.0 - T_MIN) * spread
    return torch.where(torch.rand(batch, canvases, **draw) < PURE_NOISE, 1.0, t)


def corrupt(clean: Tensor, t: Tensor, low: int, high: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Replace tokens of `clean` (B, K, C) by uniform ones from [low, high) with probability `t` (B, K), one at least.

    Returns the noisy canvas and where it was replaced, both (B, K, C).
    """
    draw = torch.rand(clean.shape, generator=generator)
    replaced = (draw < t[..., None]) | (draw == draw.amin(-1, keepdim=True))
    noise = torch.randint(low, high, clean.shape, generator=generator)
    return torch.where(replaced, noise, clean), replaced


def canvas_weights(clean: Tensor, replaced: Tensor, pads: Sequence[int]) -> Tensor:
    """Loss weights (B, K, C): 1 where replaced, less where clean; all pads of a canvas weigh `PADS_WEIGHT` at most."""
    is_pad = torch.isin(clean, torch.tensor(pads))
    share = (PADS_WEIGHT / is_pad.sum(-1, keepdim=True).clamp(min=1)).clamp(max=1.0)
    return torch.where(is_pad, share, 1.0) * torch.where(replaced, 1.0, CLEAN_WEIGHT)
