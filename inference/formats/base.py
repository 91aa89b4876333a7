"""The format Protocol: between text and tokens. Pure; holds a tokenizer, never a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from inference.canvas import TokenCanvas
from inference.protocol import FinishReason, InfillRequest


@dataclass(frozen=True)
class Prepared:
    """A request in tokens. ``prompt_ids`` (P,) is shared by all rows of ``canvas``; ``truncated_tokens`` were cut from
    the far ends of the context to fit."""

    prompt_ids: list[int]
    canvas: TokenCanvas
    truncated_tokens: int = 0


@dataclass(frozen=True)
class Reading:
    """A canvas row read back. ``fills`` one text per gap; ``scored`` the canvas positions whose probabilities make the
    confidence; ``finish_reason`` GAP_END or LENGTH as far as the tokens tell."""

    fills: tuple[str, ...]
    scored: Sequence[int]
    finish_reason: FinishReason


class Format(Protocol):
    """How segments become a prompt and canvas rows for one family of checkpoints, and back."""

    @property
    def noise_range(self) -> tuple[int, int]:
        """Noise is uniform over [low, high) of the vocabulary."""

    @property
    def confidence_floor(self) -> float:
        """The checkpoint's own floor."""

    def prepare(self, request: InfillRequest) -> Prepared:
        """Lay the request out in tokens, ``request.n`` canvas rows. Raises EngineError for what does not fit."""

    def read(self, prepared: Prepared, row_ids: Sequence[int]) -> Reading:
        """Read one row of final (or draft) token ids, (C,), back into text."""

    def pieces(self, row_ids: Sequence[int]) -> list[str]:
        """The text of each position of a row, for drawing; control tokens as an empty string."""

    def decisive(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Which positions of a draft, (B, C) int64, decide its fills, (B, C) bool: denoising may stop once these are
        settled, whatever pads behind them still do. At least one position per row."""
