"""What the rows of several denoisings share in one forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from inference.canvas_rows import CanvasRows
from inference.models.base import Denoiser, PromptCache


@dataclass
class SharedForward:
    """The joined rows of ``members``, B in all, and what stays the same as long as none of them changes.

    ``counts`` are the rows of each member; ``prompt`` serves all of them. ``free`` (F,) int64 are the free positions
    among the flattened B * C and ``anchors`` (B, C, D) the embeddings of the given tokens; None when nothing is pinned.
    """

    members: tuple[int, ...]
    counts: tuple[int, ...]
    prompt: PromptCache
    rows: CanvasRows
    free: torch.Tensor | None
    anchors: torch.Tensor | None

    @classmethod
    def of(
        cls,
        denoiser: Denoiser,
        members: tuple[int, ...],
        prompts: Sequence[PromptCache],
        parts: Sequence[CanvasRows],
        pinned: torch.Tensor,
    ) -> SharedForward:
        """Join ``parts``, the rows of each member; ``pinned`` (B, C) bool, of all of them, is on the host."""
        counts, rows = tuple(part.canvas.shape[0] for part in parts), CanvasRows.joined(parts)
        prompt, free, anchors = prompts[0], None, None
        if any(other is not prompt for other in prompts):
            prompt = denoiser.side_by_side([p for p, count in zip(prompts, counts, strict=True) for _ in range(count)])
        if pinned.any():
            free = (~pinned).flatten().nonzero().squeeze(-1).to(rows.canvas.device)
            anchors = denoiser.embeddings(rows.given)
        return cls(members, counts, prompt, rows, free, anchors)

    def at_free(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` (B, C, ...) at the free positions, (F, ...)."""
        flat = values.flatten(0, 1)
        return flat if self.free is None else flat[self.free]

    def with_pins(self, values: torch.Tensor, at_pins: torch.Tensor) -> torch.Tensor:
        """``values`` (F,) at the free positions and ``at_pins`` (B, C) elsewhere, (B, C)."""
        if self.free is None:
            return values.view_as(at_pins)
        return at_pins.flatten().index_copy(0, self.free, values).view_as(at_pins)

    def with_anchors(self, soft: torch.Tensor) -> torch.Tensor:
        """The next conditioning (B, C, D): ``soft`` embeddings (F, D) where free, the given tokens' own elsewhere."""
        if self.free is None or self.anchors is None:
            return soft.view_as(self.rows.conditioning)
        filled = self.anchors.flatten(0, 1).index_copy(0, self.free, soft.to(self.anchors.dtype))
        return filled.view_as(self.anchors)
