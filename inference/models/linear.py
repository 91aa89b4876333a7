"""Products with a fixed weight matrix, prepared once when it is loaded for the place where it will be used."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional

from inference.models.fp8 import Fp8Linear

Linear = Callable[[Tensor], Tensor]
"""(T, inputs) -> (T, outputs)."""


class Precision(StrEnum):
    """How the large weights are kept: ``auto`` as the activations are; ``fp8`` halves bfloat16, see ``fp8.py``."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"
    FP8 = "fp8"


def linear(weight: Tensor, *, fp8: bool = False, bounded: bool = False) -> Linear:
    """The product with ``weight`` (outputs, inputs), which is taken over; ``bounded``: see :class:`Fp8Linear`."""
    if fp8:
        return Fp8Linear(weight, bounded=bounded)
    if _is_packed(weight):
        return PackedLinear(weight)
    return PlainLinear(weight)


def gated_linear(gates: Tensor, ups: Tensor, *, fp8: bool = False) -> Linear:
    """GeGLU (arXiv 2002.05202) of what was normalised: ``gates`` and ``ups`` (I, inputs) give (T, I)."""
    if not fp8 and _is_packed(gates):
        return PackedGated(gates, ups)
    product = linear(torch.cat((gates, ups)), fp8=fp8, bounded=True)
    return lambda x: gated(product(x))


def gated(gates_ups: Tensor) -> Tensor:
    """GeGLU of what a product gave: first the gates, then as many values."""
    gate, up = gates_ups.chunk(2, dim=-1)
    return functional.gelu(gate, approximate="tanh") * up


def _is_packed(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class PlainLinear:
    """The weight as it is."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        """(T, inputs) -> (T, outputs)."""
        return functional.linear(x, self._weight)


class PackedLinear:
    """The weight in oneDNN's own blocked layout: a plain product would arrange it anew every time."""

    def __init__(self, weight: Tensor) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())

    def __call__(self, x: Tensor) -> Tensor:
        """(T, inputs) -> (T, outputs)."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], "")
        return product


class PackedGated:
    """Both weights so, each product with its part of GeGLU done while its output is at hand."""

    def __init__(self, gates: Tensor, ups: Tensor) -> None:
        arrange = torch.ops.mkldnn._reorder_linear_weight
        self._gates, self._ups = arrange(gates.contiguous()), arrange(ups.contiguous())

    def __call__(self, x: Tensor) -> Tensor:
        """(T, inputs) -> (T, I)."""
        product = torch.ops.mkldnn._linear_pointwise
        gate = product(x, self._gates, None, "gelu", [], "tanh")
        gated_up: Tensor = product.binary(x, gate, self._ups, None, "mul")
        return gated_up
