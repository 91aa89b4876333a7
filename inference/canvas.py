"""The canvas: the block of token positions that the decoder sees at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TokenCanvas:
    """Starting tokens of B rows of C positions, and which of them are given.

    ``token_ids`` (B, C) int64; ``pinned`` (B, C) bool: True where the token is given and must come back unchanged.
    Whether a position is pinned is never read off its token: DiffusionGemma has no mask token, its noise is uniform
    over the vocabulary. Values at free positions are replaced by noise before the first step unless ``warm`` (B, C)
    bool says that they are a draft to start from.
    """

    token_ids: torch.Tensor
    pinned: torch.Tensor
    warm: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.token_ids.ndim != 2 or self.token_ids.dtype != torch.int64:
            raise ValueError(f"token_ids must be (B, C) int64, not {self.token_ids.shape} {self.token_ids.dtype}")
        for name, mask in (("pinned", self.pinned), ("warm", self.warm)):
            if mask is not None and (mask.shape != self.token_ids.shape or mask.dtype != torch.bool):
                raise ValueError(f"{name} must be bool of shape {tuple(self.token_ids.shape)}")

    @property
    def shape(self) -> tuple[int, int]:
        """(B, C)."""
        rows, length = self.token_ids.shape
        return rows, length
