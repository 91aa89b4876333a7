"""Weights in eight bits: float8 e4m3 (arXiv 2209.05433), each output row with its own scale.

A scale per row is what the rowwise kernels of Hopper and later GPUs take as it is, and it asks nothing of the matrix's
size: 704 and 2112 are no multiples of 128. Where there is no such kernel the weight is dequantised for each product.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FP8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(FP8).max
_ALIGNMENT = 16
"""Both sizes of a matrix must be multiples of it for the eight-bit kernels."""


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """``weight`` (..., N, K) as float8 of that shape, and the float32 scales (..., N, 1) to multiply it by."""
    scale = weight.abs().amax(-1, keepdim=True).float().clamp_(min=1e-12) / _LARGEST
    return (weight / scale).to(FP8), scale


def has_kernels(weight: Tensor) -> bool:
    """Whether there is a product with ``weight`` (..., N, K) in float8, with a scale per row, where it is."""
    aligned = all(size % _ALIGNMENT == 0 for size in weight.shape[-2:])
    return aligned and weight.is_cuda and torch.cuda.get_device_capability(weight.device) >= (9, 0)


def rounded(x: Tensor, *, bounded: bool) -> tuple[Tensor, Tensor]:
    """Activations (T, K) as float8, and the scales (T, 1) to multiply them by.

    ``bounded`` ones need no scale: what was normalised over n numbers is at most the square root of n, far below 448.
    """
    if bounded:
        return x.to(FP8), torch.ones(len(x), 1, device=x.device)
    return quantized(x)


class Fp8Linear:
    """A product with a float8 weight; what comes in and out keeps its number format.

    ``bounded`` inputs were normalised, or are averages of what was.
    """

    def __init__(self, weight: Tensor, *, bounded: bool = False) -> None:
        self._weight, self._scale = quantized(weight)
        self._bounded = bounded
        self.has_kernels = has_kernels(weight)

    @property
    def nbytes(self) -> int:
        """Bytes of weight and scales."""
        return self._weight.nbytes + self._scale.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        """(T, inputs) -> (T, outputs)."""
        if not self.has_kernels:
            return functional.linear(x, dequantized(self._weight, self._scale, x.dtype))
        small, scale = rounded(x, bounded=self._bounded)
        product: Tensor = torch._scaled_mm(
            small, self._weight.t(), scale, self._scale.t(), out_dtype=x.dtype, use_fast_accum=True
        )
        return product


def dequantized(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in ``dtype`` again."""
    return weight.to(dtype) * scale.to(dtype)
