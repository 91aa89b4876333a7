"""Cross-entropy straight from hidden states, without ever holding all logits."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 512  # rows of logits at a time: 512 x 8,192 bf16 are 8 MB and stay in the cache of a small machine


class _SoftcapCrossEntropy(torch.autograd.Function):
    """Weighted cross-entropy of soft-capped logits; both gradients are made in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, embedding: Tensor, targets: Tensor, weights: Tensor, softcap: float, chunk: int
    ) -> tuple[Tensor, Tensor]:
        hidden_gradient = torch.empty_like(hidden)
        embedding_gradient = torch.zeros(embedding.shape, dtype=torch.float32, device=hidden.device)
        losses = torch.empty(len(hidden), device=hidden.device)
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            count = len(hidden[rows])
            missing = chunk - count  # every chunk has one shape, so that one compiled kernel serves all
            raw = functional.pad(hidden[rows], (0, 0, 0, missing)) @ embedding.T
            found, gradient = row_losses(
                raw, functional.pad(targets[rows], (0, missing)), functional.pad(weights[rows], (0, missing)), softcap
            )
            losses[rows] = found[:count]
            hidden_gradient[rows] = (gradient @ embedding)[:count]
            embedding_gradient += gradient[:count].T @ hidden[rows]
        ctx.save_for_backward(hidden_gradient, embedding_gradient.to(embedding.dtype))
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        hidden_gradient, embedding_gradient = ctx.saved_tensors
        scale = gradients[0].to(hidden_gradient.dtype)
        return hidden_gradient * scale, embedding_gradient * scale, None, None, None, None


def row_losses(raw: Tensor, targets: Tensor, weights: Tensor, softcap: float) -> tuple[Tensor, Tensor]:
    """Losses (N,) and the gradient of `weights` (N,) times them by the raw logits (N, V)."""
    squashed = torch.tanh(raw.float() * (1.0 / softcap))
    logits = squashed * softcap
    losses = torch.logsumexp(logits, dim=-1)
    gradient = torch.exp(logits - losses[:, None])
    columns = torch.arange(raw.shape[1], device=raw.device)
    gradient = torch.where(columns == targets[:, None], gradient - 1.0, gradient)
    gradient = gradient * (1.0 - squashed * squashed) * weights[:, None]
    return losses - logits.gather(1, targets[:, None])[:, 0], gradient.to(raw.dtype)


def softcap_cross_entropy(
    hidden: Tensor, embedding: Tensor, targets: Tensor, weights: Tensor, softcap: float, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Weighted sum of the losses, and every row's loss without gradient.

    `hidden` (N, D), `embedding` (V, D), `targets` (N,) int64, `weights` (N,) fp32; `chunk` rows of logits at a time.
    """
    return _SoftcapCrossEntropy.apply(hidden, embedding, targets, weights, softcap, chunk)  # type: ignore[no-any-return, no-untyped-call]
