"""Grouped-query attention without weights: rotation, and the product with keys and values.

Letters in shapes: B rows, N new tokens, H query heads, G key/value heads, E head size, M keys.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from inference.models.text_config import TextConfig

_MANY_SCORES = 2**20
"""From so many scores on, plain products on a CPU are no faster than its flash kernel, which keeps none."""
_LEAST_BLOCK = 16
_LONG = 512
"""From so many keys on, copying them costs more than a product for each row."""


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention with scale 1: ``queries`` (B, H, N, E), ``keys`` and ``values`` (B, G, M, E) -> (B, H, N, E).

    ``mask`` is additive: (B, 1, 1, M), the same for all queries of a row, or (N, M), of queries that are the last keys
    and see none behind their own.
    """
    if queries.is_cuda:
        return _by_kernel(queries, keys, values, mask)
    if mask is not None and mask.dim() == 2:
        return _in_blocks(queries, keys, values, mask)
    few = queries[..., 0].numel() * keys.shape[2] < _MANY_SCORES
    return (_by_products if few else _by_kernel)(queries, keys, values, mask)


def _by_kernel(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """With one of torch's fused kernels, none of which takes both grouped heads and a mask."""
    batch, heads, new, size = queries.shape
    groups = keys.shape[1]
    if mask is not None and mask.dim() == 2:
        keys, values = (kv.repeat_interleave(heads // groups, dim=1) for kv in (keys, values))
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=1.0)
    # All see the same keys: the heads of a group are more rows of one query, so that keys and values are read once.
    rows = queries.reshape(batch, groups, heads // groups * new, size)
    if mask is not None:
        mask = mask.expand(-1, -1, rows.shape[2], -1)
    return functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=1.0).view(queries.shape)


def _in_blocks(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Some queries at a time, each time with no more keys than they see: half the work of a long prompt."""
    batch, heads, new, _ = queries.shape
    count = keys.shape[2]
    size = max(_LEAST_BLOCK, _MANY_SCORES // 2 // (batch * heads * count))
    attended = torch.empty_like(queries)
    for start in range(0, new, size):
        end = min(start + size, new)
        seen = count - (new - end)
        block = queries[:, :, start:end], keys[:, :, :seen], values[:, :, :seen], mask[start:end, :seen]
        attended[:, :, start:end] = _by_products(*block)
    return attended


def _by_products(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Plain products, the heads of a group as more rows of one query: on a CPU faster than its flash kernel."""
    batch, heads, new, size = queries.shape
    groups, count = keys.shape[1:3]
    rows = queries.reshape(batch * groups, heads // groups * new, size)
    scores = _products(rows, keys.flatten(0, 1).transpose(1, 2))
    if mask is not None:
        scores.view(batch, groups, heads // groups, new, count).add_(mask if mask.dim() == 2 else mask[:, :, None])
    return _products(scores.softmax(-1), values.flatten(0, 1)).view(queries.shape)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """``left`` (B, N, K) times ``right`` (B, K, M); torch.bmm copies views of a room on a CPU, torch.mm does not."""
    if right.device.type == "cpu" and right.dtype == torch.bfloat16 and max(right.shape[1:]) >= _LONG:
        return torch.stack([torch.mm(one, other) for one, other in zip(left, right, strict=True)])
    return torch.bmm(left, right)


def rotate(heads: Tensor, scale: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Multiply ``heads`` (B, N, H, E) by ``scale`` (H, E) and turn them by ``cos``, ``sin`` (B or 1, N, 1, E).

    ``sin`` has its first half negated. Rotary position embeddings (arXiv 2104.09864).
    """
    half = heads.shape[-1] // 2
    scaled = heads * scale
    return torch.addcmul(scaled * cos, scaled.roll(half, -1), sin)


def rotary(positions: Tensor, frequencies: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine (B, N, 1, E) for :func:`rotate`, of ``positions`` (B, N) and ``frequencies`` (E / 2,)."""
    angles = (positions[..., None].float() * frequencies)[:, :, None]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1).to(dtype), torch.cat((-sin, sin), dim=-1).to(dtype)


class Frequencies(NamedTuple):
    """Angle per position of each pair (E / 2,), in sliding and in full layers."""

    sliding: Tensor
    full: Tensor

    @classmethod
    def of(cls, config: TextConfig, device: torch.device) -> Frequencies:
        """In full layers only the first pairs turn, at the pace that the whole head size gives."""
        sizes = {layer.full: layer.head_dim for layer in config.layers}
        sliding = _pace(config.theta, sizes.get(False, 0), sizes.get(False, 0), device)
        size = sizes.get(True, 0)
        full = torch.zeros(size // 2, device=device)
        turning = int(config.full_rotary_share * size // 2)
        full[:turning] = _pace(config.full_theta, size, 2 * turning, device)
        return cls(sliding, full)


def _pace(theta: float, head_dim: int, turning: int, device: torch.device) -> Tensor:
    exponents = torch.arange(0, turning, 2, device=device).float() / max(1, head_dim)
    return theta**-exponents


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where ``visible``, minus infinity elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, -math.inf)
