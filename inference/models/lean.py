"""DiffusionGemma for inference, from one expert on a laptop to 128 on a GPU; ``dense.py`` is the plain one beside it.

Letters in shapes: B rows, N new tokens, C canvas positions, F free ones, D hidden size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inference.models.attention import Frequencies, additive, rotary
from inference.models.branches import Branches, BranchRoom
from inference.models.frame import Frame
from inference.models.lean_layer import LeanLayer
from inference.models.linear import Linear
from inference.models.normalizer import Normalizer
from inference.models.room import Room
from inference.models.text_config import TextConfig

_SCORED_AT_ONCE = 128
"""Tokens whose logits are there at a time when text is scored: with a vocabulary of 262,144 they take 128 MiB."""


@dataclass(frozen=True)
class LeanModel:
    """The weights, folded; ``table`` (V, D) are the input embeddings, unscaled.

    ``layers`` are the decoder's; ``encoder_layers`` consist of the same products where the weights are shared.
    ``logits_of`` is the product with ``table``, ``expectation_of`` that with its transpose.
    """

    config: TextConfig
    normalizer: Normalizer
    frequencies: Frequencies
    layers: Sequence[LeanLayer]
    encoder_layers: Sequence[LeanLayer]
    table: Tensor
    logits_of: Linear
    expectation_of: Linear
    conditioning_inner: Linear
    conditioning_down: Linear
    norm: Tensor

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.table.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of activations."""
        return self.table.dtype

    def embeddings(self, token_ids: Tensor) -> Tensor:
        """Scaled input embeddings of ``token_ids`` (...) int64, (..., D)."""
        return functional.embedding(token_ids, self.table) * math.sqrt(self.config.hidden_size)

    def soft_embeddings(self, probabilities: Tensor) -> Tensor:
        """Expected input embeddings (F, D) under ``probabilities`` (F, V)."""
        return self.expectation_of(probabilities.to(self.dtype)) * math.sqrt(self.config.hidden_size)

    def encode(self, token_ids: Tensor, rooms: Sequence[Room]) -> None:
        """Read more prompt: ``token_ids`` (1, N) behind the P tokens in ``rooms``, one per layer with N places left."""
        past, new = rooms[0].used, token_ids.shape[1]
        positions = torch.arange(past, past + new, device=self.device)
        distance = positions[:, None] - torch.arange(past + new, device=self.device)  # (N, P + N)
        window = self.config.window
        near = ((distance >= 0) & (distance < window))[:, -(window - 1 + new) :]
        masks: tuple[Tensor | None, Tensor | None]
        if new == 1:  # a single token sees all that is left: no mask
            masks = additive(near, self.dtype)[None, None], None
        else:
            masks = additive(near, self.dtype), additive(distance >= 0, self.dtype)
        turns = [rotary(positions[None], frequencies, self.dtype) for frequencies in self.frequencies]
        x = self.embeddings(token_ids)
        for layer, room in zip(self.encoder_layers, rooms, strict=True):
            full = layer.shape.full
            x = layer(x, turns[full], room, masks[full])

    def score(self, rows: Sequence[Sequence[int]], rooms: Sequence[Room], shared: int) -> Tensor:
        """Log p of every token of ``rows`` but each row's first, one after the other, (T - B,) float32; see
        :meth:`inference.models.base.Denoiser.score`. The rooms stay as they are."""
        branches = Branches.of([len(row) for row in rows], shared, self.device)
        masks = [additive(branches.visible(window), self.dtype) for window in (self.config.window, None)]
        turns = [rotary(branches.positions[None], frequencies, self.dtype) for frequencies in self.frequencies]
        token_ids = torch.tensor([token for row in rows for token in row], device=self.device)
        x = self.embeddings(token_ids[None])
        for layer, room in zip(self.encoder_layers, rooms, strict=True):
            full = layer.shape.full
            x = layer(x, turns[full], BranchRoom(*room.first(shared)), masks[full])
        follows = (branches.numbers[1:] == branches.numbers[:-1]).nonzero().squeeze(-1)
        hidden, wanted = self.normalizer(x[0, follows], self.norm), token_ids[follows + 1]
        parts = [slice(start, start + _SCORED_AT_ONCE) for start in range(0, len(wanted), _SCORED_AT_ONCE)]
        found = [self._logits(hidden[some]).log_softmax(-1).gather(-1, wanted[some, None]) for some in parts]
        return torch.cat(found).squeeze(-1)

    def denoise(self, canvas_ids: Tensor, frame: Frame, conditioning: Tensor, free: Tensor | None) -> Tensor:
        """One decoder forward; see :meth:`inference.models.base.Denoiser.denoise`."""
        signal = self.conditioning_down(self.conditioning_inner(self.normalizer(conditioning.flatten(0, 1))))
        x = self.normalizer(self.embeddings(canvas_ids) + signal.view(conditioning.shape))
        for layer, room in zip(self.layers, frame.rooms, strict=True):
            full = layer.shape.full
            x = layer(x, frame.rotary[full], room, frame.masks[full])
        hidden = x.flatten(0, 1)
        return self._logits(self.normalizer(hidden if free is None else hidden[free], self.norm))

    def _logits(self, hidden: Tensor) -> Tensor:
        """Soft-capped float32 logits (F, V) of ``hidden`` (F, D)."""
        cap = self.config.softcap
        raw = self.logits_of(hidden).float()
        # cap * tanh(raw / cap), by way of the sigmoid, for which the CPU has a much faster kernel
        return raw.mul_(2 / cap).sigmoid_().mul_(2 * cap).sub_(cap)
