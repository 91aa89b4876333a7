"""Attention over packed rows: who may look at whom, for FlexAttention and as a plain mask.

A prompt token sees the tokens before it in its own prompt; a canvas token sees all of its own prompt and all of its
own canvas. Letters in shapes: B rows, P prompt positions, T canvas positions.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from inference.training.packing import PackedBatch

BLOCK = 128  # tokens on each side of a block
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Masks = tuple[Tensor, Tensor] | tuple[BlockMask, BlockMask]
"""Of prompts and of canvases."""


def prompt_visible(batch: PackedBatch) -> Tensor:
    """(B, P, P): causal, and inside one prompt; padding sees itself, so that no row of the softmax is empty."""
    owners = batch.prompt_owners
    order = torch.arange(owners.shape[1], device=owners.device)
    return (owners[:, :, None] == owners[:, None]) & (order[:, None] >= order)


def canvas_visible(batch: PackedBatch) -> Tensor:
    """(B, T, P + T): the prompt of the canvas, and the canvas itself."""
    to_prompt = batch.canvas_owners[:, :, None] == batch.prompt_owners[:, None]
    numbers = _canvas_marks(batch)
    return torch.cat((to_prompt, numbers[:, :, None] == numbers[:, None]), dim=-1)


def attention(mask: Tensor | BlockMask) -> Attend:
    """The attention of a boolean mask (B, N, M) or of a block mask."""
    return plain(mask) if isinstance(mask, Tensor) else flexible(mask)


def plain(visible: Tensor) -> Attend:
    """PyTorch's own attention under a boolean mask (B, N, M)."""

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        repeats = queries.shape[1] // keys.shape[1]
        keys, values = keys.repeat_interleave(repeats, 1), values.repeat_interleave(repeats, 1)
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible[:, None], scale=1.0)

    return attend


def flexible(mask: BlockMask) -> Attend:
    """FlexAttention under a block mask: blocks in which nobody sees anybody cost nothing."""

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        attended = flex_attention(queries, keys, values, block_mask=mask, scale=1.0, enable_gqa=True)
        assert isinstance(attended, Tensor)
        return attended

    return attend


def plain_masks(batch: PackedBatch) -> Masks:
    """Both masks as booleans."""
    return prompt_visible(batch), canvas_visible(batch)


def block_masks(batch: PackedBatch) -> Masks:
    """Both masks as block masks."""
    return prompt_blocks(batch), canvas_blocks(batch)


def prompt_blocks(batch: PackedBatch) -> BlockMask:
    """`prompt_visible` as a block mask."""
    owners = batch.prompt_owners

    def visible(row: Any, head: Any, query: Any, key: Any) -> Any:
        return (owners[row, query] == owners[row, key]) & (query >= key)

    return _blocks(prompt_visible(batch), visible)


def canvas_blocks(batch: PackedBatch) -> BlockMask:
    """`canvas_visible` as a block mask."""
    # One mark per key and two per query: a key is seen if it is of the query's prompt or of its canvas.
    numbers, canvas_owners = _canvas_marks(batch), batch.canvas_owners
    marks = torch.cat((batch.prompt_owners, numbers), dim=1)
    prompts = batch.prompt_owners.shape[1]

    def visible(row: Any, head: Any, query: Any, key: Any) -> Any:
        return torch.where(key < prompts, canvas_owners[row, query], numbers[row, query]) == marks[row, key]

    return _blocks(canvas_visible(batch), visible)


def _blocks(mask: Tensor, visible: Callable[..., Any]) -> BlockMask:
    """The blocks of a boolean mask (B, N, M) that hold something, and those that are full; `visible` says it by index.

    PyTorch's own `create_block_mask` comes to the same by 64-bit indices for every pair: gigabytes in each step.
    """
    rows, queries, keys = mask.shape
    if queries % BLOCK or keys % BLOCK:
        raise ValueError(f"FlexAttention here needs rows in multiples of {BLOCK} tokens, not {queries} by {keys}")
    tiles = mask.view(rows, 1, queries // BLOCK, BLOCK, keys // BLOCK, BLOCK)
    some, full = tiles.any(5).any(3), tiles.all(5).all(3)
    return BlockMask.from_kv_blocks(
        *_ordered(some & ~full), *_ordered(full), BLOCK_SIZE=BLOCK, mask_mod=visible, seq_lengths=(queries, keys)
    )


def _ordered(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of each query block are chosen, and all indices with those in front."""
    order = chosen.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32), order.to(torch.int32)


def _canvas_marks(batch: PackedBatch) -> Tensor:
    return torch.where(batch.canvas_owners >= 0, batch.canvas_numbers, batch.canvas_owners)
