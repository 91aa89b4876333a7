"""Noise on packed canvases: uniform replacement, and late in training small edits as well.

Letters in shapes: B rows, T canvas positions of a row, M canvases of a row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.formats.infill_spec import InfillSpec
from inference.training.noise import CLEAN_WEIGHT, noise_levels
from inference.training.packing import PackedBatch, RowSize

EDITED = 0.3  # share of canvases that are edited, once edits have begun
EDITS = 2  # shifts in an edited canvas


@dataclass(frozen=True)
class Noisy:
    """`ids` (B, T), loss `weights` (B, T) and whether a canvas started from `pure` noise (B, T)."""

    ids: Tensor
    weights: Tensor
    pure: Tensor


def add_noise(batch: PackedBatch, size: RowSize, spec: InfillSpec, edits: bool, generator: torch.Generator) -> Noisy:
    """Replace tokens by uniform ones with each canvas's own probability t, one token of each canvas at least.

    With `edits`, tokens were also inserted, doubled or deleted in some canvases before, so that the model learns to
    move what is right but stands in the wrong place (arXiv 2508.02193).
    """
    rows = len(batch.canvases)
    levels = noise_levels(rows * size.examples, size.canvases, generator).view(rows, -1)
    t = levels.gather(1, batch.canvas_numbers)
    draw = torch.rand(t.shape, generator=generator, device=t.device)
    lowest = torch.ones_like(levels).scatter_reduce(1, batch.canvas_numbers, draw, "amin")
    noise = torch.randint(spec.noise_low, spec.noise_high, t.shape, generator=generator, device=t.device)
    started = edited(batch, size, noise, generator) if edits else batch.canvases
    ids = torch.where((draw < t) | (draw == lowest.gather(1, batch.canvas_numbers)), noise, started)
    weights = batch.weights * torch.where(ids != batch.canvases, 1.0, CLEAN_WEIGHT)
    return Noisy(ids, weights, t == 1.0)


def edited(batch: PackedBatch, size: RowSize, noise: Tensor, generator: torch.Generator) -> Tensor:
    """The clean canvases with up to `EDITS` insertions, doublings or deletions in some of them (B, T)."""
    ids, device = batch.canvases, generator.device
    canvases = (len(ids), size.examples * size.canvases)
    for _ in range(EDITS):
        chosen = torch.rand(canvases, generator=generator, device=device) < EDITED
        place = torch.rand(canvases, generator=generator, device=device).gather(1, batch.canvas_numbers)
        kind = torch.randint(0, 3, canvases, generator=generator, device=device).gather(1, batch.canvas_numbers)
        at = (place * batch.sizes).long()
        deletes, inserts = kind == 0, kind == 1
        source = batch.slots + torch.where(batch.slots >= at, torch.where(deletes, 1, -1), 0)
        source = torch.where(~deletes & (batch.slots == at), batch.slots, source)  # what stood there, now twice
        inside = source.clamp(min=0).minimum(batch.sizes - 1)
        positions = torch.arange(ids.shape[1], device=device) - batch.slots + inside
        shifted = ids.gather(1, positions)
        shifted = torch.where((inserts & (batch.slots == at)) | (source != inside), noise, shifted)
        ids = torch.where(chosen.gather(1, batch.canvas_numbers), shifted, ids)
    return ids
