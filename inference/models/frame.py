"""Where a canvas is denoised: its prompts' keys and values with room for the canvas's own behind them.

Letters in shapes: B rows, C canvas positions, P prompt positions, G key/value heads, E head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.models.attention import Frequencies, additive, rotary
from inference.models.room import Room
from inference.models.text_config import TextConfig

Rotary = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LeanPrompt:
    """The first ``length`` positions of one room per layer; rooms may be shared with longer prompts."""

    rooms: tuple[Room, ...]
    length: int


class CanvasRoom:
    """Buffers (B, G, P + C, E) of one layer, of whose P prompt positions the last ``seen`` are ever filled.

    The canvas's part is written anew at every step.
    """

    def __init__(self, keys: Tensor, values: Tensor, prompt_positions: int, seen: int) -> None:
        self.keys, self.values, self._start, self._seen = keys, values, prompt_positions, seen

    def followed_by(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write ``keys`` and ``values`` (B, G, C, E) of the canvas; all of both."""
        self.keys[:, :, self._start :] = keys
        self.values[:, :, self._start :] = values
        return self.keys, self.values

    def fill(self, row: int | slice, prompt: Room, length: int) -> None:
        """Put the last keys and values of a prompt (1, G, >= length, E) before the canvas of ``row``."""
        seen = min(length, self._seen)
        for ours, theirs in zip((self.keys, self.values), prompt.first(length), strict=True):
            ours[row, :, self._start - seen : self._start] = theirs[0, :, length - seen :]


class Frame:
    """All that the decoder reads beside a canvas (B, C): made once for its shape, filled for each set of prompts.

    Every row's prompt ends where its canvas begins, so that a window is the same slice of all rows; what lies before
    a prompt is masked. ``capacity`` is the longest prompt there is room for; ``masked`` False is for rows that are all
    exactly that long. Only tensors that stay where they are: a CUDA graph may replay over them.
    """

    def __init__(
        self,
        config: TextConfig,
        frequencies: Frequencies,
        shape: tuple[int, int],
        capacity: int,
        *,
        masked: bool,
        dtype: torch.dtype,
    ) -> None:
        rows, canvas = shape
        device = frequencies.full.device
        self._frequencies, self._canvas, self._rows = frequencies, canvas, rows
        self.capacity = capacity
        self._seen = min(capacity, config.window - 1), capacity
        self._places = tuple(_aligned(seen) if masked else seen for seen in self._seen)
        self.rooms: list[CanvasRoom] = []
        for layer in config.layers:
            places = self._places[layer.full]
            size = (2, rows, layer.kv_heads, places + canvas, layer.head_dim)
            keys, values = torch.zeros(size, dtype=dtype, device=device)  # a masked key must still be a number
            self.rooms.append(CanvasRoom(keys, values, places, self._seen[layer.full]))
        self.masks: tuple[Tensor | None, Tensor | None] = (None, None)
        if masked:
            sizes = [places + canvas for places in self._places]
            sliding, full = (torch.zeros(rows, 1, 1, size, dtype=dtype, device=device) for size in sizes)
            self.masks = sliding, full
        sizes = [2 * len(part) for part in (frequencies.sliding, frequencies.full)]
        sliding, full = (torch.zeros(2, rows, canvas, 1, size, dtype=dtype, device=device) for size in sizes)
        self.rotary: tuple[Rotary, Rotary] = (sliding[0], sliding[1]), (full[0], full[1])

    def fill(self, prompts: Sequence[LeanPrompt], canvas: int | None = None) -> None:
        """Take in one prompt for all rows, or one for each.

        ``canvas`` says how many canvas positions, the first ones, are in use: where masked, the others are not seen.
        """
        rows: Sequence[int | slice] = [slice(None)] if len(prompts) == 1 else range(self._rows)
        for row, prompt in zip(rows, prompts, strict=True):
            for room, theirs in zip(self.rooms, prompt.rooms, strict=True):
                room.fill(row, theirs, prompt.length)
        device = self._frequencies.full.device
        lengths = torch.tensor([[prompt.length] for prompt in prompts], device=device)
        for mask, places, seen in zip(self.masks, self._places, self._seen, strict=True):
            if mask is not None:
                place = torch.arange(places + self._canvas, device=device)
                visible = (place >= places - lengths.clamp(max=seen)) & (place < places + (canvas or self._canvas))
                mask.copy_(additive(visible, mask.dtype)[:, None, None])
        positions = lengths + torch.arange(self._canvas, device=device)
        for (cos, sin), frequencies in zip(self.rotary, self._frequencies, strict=True):
            fresh = rotary(positions, frequencies, cos.dtype)
            cos.copy_(fresh[0])
            sin.copy_(fresh[1])


def frame_bytes(config: TextConfig, shape: tuple[int, int], capacity: int, dtype: torch.dtype) -> int:
    """What a frame holds, but for what aligns it, masks and angles."""
    rows, canvas = shape
    seen = min(capacity, config.window - 1), capacity
    numbers = (2 * layer.kv_heads * layer.head_dim * (seen[layer.full] + canvas) for layer in config.layers)
    return rows * sum(numbers) * dtype.itemsize


def _aligned(places: int) -> int:
    """As many, or a few more: kernels for masked attention want rows of a mask to begin at such places."""
    return -(-places // 16) * 16
