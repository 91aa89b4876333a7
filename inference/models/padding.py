"""Keys and values of different lengths side by side, padded on their left: a window is the same slice of all rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Tensors (1, G, P, E) of several P as one (B, G, longest P, E) of rows that end together; zeros before them."""
    longest = max(row.shape[2] for row in rows)
    out = rows[0].new_zeros(len(rows), rows[0].shape[1], longest, rows[0].shape[3])
    for target, row in zip(out, rows, strict=True):
        target[:, longest - row.shape[2] :] = row[0]
    return out


def visible_keys(lengths: Sequence[int], like: Tensor) -> Tensor | None:
    """Additive mask (B, 1, 1, P) over such rows, with the number format and place of ``like``: 0 where a row has a key.

    None where no row is padded.
    """
    longest = max(lengths)
    if min(lengths) == longest:
        return None
    first = torch.tensor([longest - length for length in lengths], device=like.device)
    hidden = torch.arange(longest, device=like.device) < first[:, None]
    mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, -math.inf)
    return mask[:, None, None]
