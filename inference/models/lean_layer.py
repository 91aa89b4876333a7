"""One layer for inference, its weights folded into as few products as there can be.

Letters in shapes: B rows, N new tokens, T = B * N, D hidden size, H query heads, G key/value heads, E head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from inference.models.attention import attend, rotate
from inference.models.feed_forward import FeedForward
from inference.models.linear import Linear
from inference.models.normalizer import Normalizer
from inference.models.text_config import LayerShape


class KeyValueStore(Protocol):
    """Keys and values of the tokens before, where new ones are written behind them."""

    def followed_by(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write ``keys`` and ``values`` (B, G, N, E); views (B, G, M, E) of all, the new ones last."""


@dataclass(frozen=True)
class LeanLayer:
    """``head_scale`` (H + G, E) are the norm weights of queries and keys, the others those of the norms they name.

    Norms before a product are folded into it. The layer's output is multiplied by ``scalar``.
    """

    shape: LayerShape
    normalizer: Normalizer
    queries_keys_values: Linear
    output: Linear
    feed_forward: FeedForward
    head_scale: Tensor
    post_attention: Tensor
    post_feed_forward: Tensor
    scalar: float

    def __call__(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        store: KeyValueStore,
        mask: Tensor | None,
    ) -> Tensor:
        """``x`` (B, N, D) -> the same shape. A mask narrower than the stored keys is for the last ones."""
        batch, new, size = x.shape
        flat = x.view(-1, size)
        attended = self._attention(self.normalizer(flat), batch, new, rotary, store, mask)
        flat = self.normalizer.added_to(flat, self.output(attended), self.post_attention)
        flat = self.normalizer.added_to(flat, self.feed_forward(self.normalizer(flat)), self.post_feed_forward)
        return (flat if self.scalar == 1.0 else flat.mul_(self.scalar)).view(batch, new, size)

    def _attention(
        self,
        normal: Tensor,
        batch: int,
        new: int,
        rotary: tuple[Tensor, Tensor],
        store: KeyValueStore,
        mask: Tensor | None,
    ) -> Tensor:
        """``normal`` (T, D) -> (T, H * E)."""
        heads, rotated = self.shape.heads, self.shape.heads + self.shape.kv_heads
        projected = self.queries_keys_values(normal).view(batch, new, -1, self.shape.head_dim)
        unit = self.normalizer(projected)
        turned = rotate(unit[:, :, :rotated], self.head_scale, *rotary).transpose(1, 2)
        values = unit[:, :, heads if self.shape.full else rotated :].transpose(1, 2)
        keys, values = store.followed_by(turned[:, heads:], values)
        if mask is not None and mask.shape[-1] < keys.shape[2]:
            keys, values = keys[:, :, -mask.shape[-1] :], values[:, :, -mask.shape[-1] :]
        attended = attend(turned[:, :heads], keys, values, mask)
        return attended.transpose(1, 2).reshape(batch * new, -1)
