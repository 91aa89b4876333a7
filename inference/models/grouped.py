"""Products with one matrix per expert; the rows come sorted by expert."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from inference.models.fp8 import dequantized, has_kernels, quantized, rounded

Grouped = Callable[[Tensor, Tensor], Tensor]
"""(T, inputs) sorted by expert, and (X,) int32 the end of each of X experts' rows -> (T, outputs)."""


def grouped(weight: Tensor, *, fp8: bool = False, bounded: bool = False) -> Grouped:
    """The products with ``weight`` (X, outputs, inputs), which is taken over; see :class:`Fp8Linear`."""
    return Fp8Grouped(weight, bounded=bounded) if fp8 else PlainGrouped(weight)


class PlainGrouped:
    """The matrices as they are."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def __call__(self, x: Tensor, ends: Tensor) -> Tensor:
        """See :data:`Grouped`."""
        if x.is_cuda:
            return functional.grouped_mm(x, self._weight.transpose(1, 2), offs=ends)
        return _one_by_one(x, ends, self._weight.__getitem__)


class Fp8Grouped:
    """The matrices in float8, with a scale per output row; what comes in and out keeps its number format."""

    def __init__(self, weight: Tensor, *, bounded: bool = False) -> None:
        self.has_kernels = has_kernels(weight)
        self._bounded = bounded
        parts = [quantized(matrix) for matrix in weight]  # one by one: the float32 between is large
        self._weight = torch.stack([values for values, _ in parts])
        self._scale = torch.stack([scale for _, scale in parts])

    @property
    def nbytes(self) -> int:
        """Bytes of weights and scales."""
        return self._weight.nbytes + self._scale.nbytes

    def __call__(self, x: Tensor, ends: Tensor) -> Tensor:
        """See :data:`Grouped`."""
        if self.has_kernels:
            small, scale = rounded(x, bounded=self._bounded)
            product: Tensor = torch._scaled_grouped_mm(
                small,
                self._weight.transpose(1, 2),
                scale.squeeze(-1),
                self._scale.squeeze(-1),
                offs=ends,
                out_dtype=x.dtype,
                use_fast_accum=True,
            )
            return product
        if x.is_cuda:
            weight = dequantized(self._weight, self._scale, x.dtype)
            return functional.grouped_mm(x, weight.transpose(1, 2), offs=ends)
        return _one_by_one(x, ends, lambda at: dequantized(self._weight[at], self._scale[at], x.dtype))


def _one_by_one(x: Tensor, ends: Tensor, matrix: Callable[[int], Tensor]) -> Tensor:
    """A product for each expert that has rows: on a CPU only those experts' weights are read."""
    parts, start = [], 0
    for expert, end in enumerate(ends.tolist()):
        if end > start:
            parts.append(functional.linear(x[start:end], matrix(expert)))
        start = end
    return torch.cat(parts)
