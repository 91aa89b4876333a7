"""The second half of a layer: a dense gated MLP beside experts, each branch with norms of its own.

Letters in shapes: T tokens, D hidden size, X experts, K experts per token, I an expert's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from inference.models.grouped import Grouped
from inference.models.linear import Linear, gated
from inference.models.normalizer import Normalizer


class FeedForward(Protocol):
    """Both branches of a layer, up to the norm around their sum."""

    def __call__(self, normal: Tensor) -> Tensor:
        """``normal`` (T, D), root mean square one -> (T, D)."""


@dataclass(frozen=True)
class OneExpert:
    """A checkpoint with one expert: both branches read one product. The router's only choice has weight one."""

    normalizer: Normalizer
    inner: Linear
    down: Linear
    expert_down: Linear
    dense_size: int
    weight_1: Tensor
    weight_2: Tensor

    def __call__(self, normal: Tensor) -> Tensor:
        """(T, D) -> (T, D)."""
        inner = self.inner(normal)
        dense, expert = self.down(inner[:, : self.dense_size]), self.expert_down(inner[:, self.dense_size :])
        return self.normalizer.added_to(self.normalizer(dense, self.weight_1), expert, self.weight_2)


@dataclass(frozen=True)
class ManyExperts:
    """A dense MLP beside a mixture of experts (arXiv 1701.06538)."""

    normalizer: Normalizer
    inner: Linear
    down: Linear
    router: Linear
    experts: Experts
    weight_1: Tensor
    weight_2: Tensor

    def __call__(self, normal: Tensor) -> Tensor:
        """(T, D) -> (T, D)."""
        dense = self.down(self.inner(normal))
        mixed = self.experts(normal, self.router(normal))
        return self.normalizer.added_to(self.normalizer(dense, self.weight_1), mixed, self.weight_2)


@dataclass(frozen=True)
class Experts:
    """``gate_up`` (X, 2 I, D) and ``down`` (X, D, I) of all experts; ``numbers`` (X,) counts them from zero."""

    gate_up: Grouped
    down: Grouped
    numbers: Tensor
    chosen: int

    def __call__(self, normal: Tensor, scores: Tensor) -> Tensor:
        """``normal`` (T, D), the router's ``scores`` (T, X) -> (T, D). Never synchronises with the host on a GPU."""
        best, chosen = scores.topk(self.chosen, dim=-1)  # both (T, K)
        # the softmax over all, cut to the best and made to sum to one again, is the softmax over the best
        shares = best.softmax(-1)
        experts, order = chosen.flatten().sort()
        ends = torch.searchsorted(experts, self.numbers, right=True, out_int32=True)
        inner = gated(self.gate_up(normal[order // self.chosen], ends))
        given = self.down(inner, ends)
        by_token = torch.empty_like(given).index_copy_(0, order, given).view(len(normal), self.chosen, -1)
        return torch.bmm(shares[:, None], by_token)[:, 0]
