"""Root-mean-square normalisation (arXiv 1910.07467) in the fewest passes that each device offers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class Normalizer:
    """Divides the last dimension by its root mean square; made once for a model and its device."""

    def __init__(self, epsilon: float, device: torch.device) -> None:
        self._epsilon = epsilon
        self._epsilon_there = torch.tensor(epsilon, device=device)

    def __call__(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """``x`` (..., D) normalised, and multiplied by ``weight`` (D,)."""
        if x.is_cuda:
            return functional.rms_norm(x, x.shape[-1:], weight, self._epsilon)
        return x * self._scale(x) if weight is None else x * self._scale(x) * weight

    def added_to(self, residual: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """``residual`` plus ``x`` normalised and multiplied by ``weight``."""
        if x.is_cuda:
            return residual + functional.rms_norm(x, x.shape[-1:], weight, self._epsilon)
        return torch.addcmul(residual, x * self._scale(x), weight)

    def _scale(self, x: Tensor) -> Tensor:
        """One over the root mean square, (..., 1): the CPU has no fused kernel, and this takes few small ones."""
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return torch.addcmul(self._epsilon_there, norm, norm, value=1 / x.shape[-1]).rsqrt_().to(x.dtype)
