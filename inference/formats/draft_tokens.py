"""Tokens that a canvas starts from instead of noise: an edit's selection, or what an earlier answer lets one expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from inference.errors import EngineError
from inference.protocol import MAX_GAP_TOKENS, ErrorCode


def kept(strengths: Sequence[float], count: int, seed: int | None) -> torch.Tensor:
    """Which of ``count`` draft tokens each row starts from, (B, count) bool; the others start as noise.

    ``strengths`` (B,): that share of a row's tokens is noise, drawn anew per row; the same ``seed`` draws the same.
    """
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    ranks = torch.rand(len(strengths), count, generator=generator).argsort(dim=-1).argsort(dim=-1)
    return ranks >= torch.tensor([round(strength * count) for strength in strengths])[:, None]


def selection_tokens(selection: str, encode: Callable[[str], list[int]]) -> list[int]:
    """The token ids of an edit's selection. Raises EngineError for more than a gap may hold."""
    token_ids = encode(selection[: MAX_GAP_TOKENS * 16])
    if len(token_ids) > MAX_GAP_TOKENS or len(selection) > MAX_GAP_TOKENS * 16:
        raise EngineError(
            f"the selection has more than {MAX_GAP_TOKENS} tokens; select less, or edit it in parts",
            ErrorCode.TOO_LARGE,
        )
    return token_ids


def room_to_rewrite(count: int) -> int:
    """How many tokens may take the place of ``count`` selected ones: a quarter more, at least 16 more."""
    return min(count + max(16, count // 4), MAX_GAP_TOKENS)
