"""Random weights under transformers' names, made one by one on the device when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from inference.models.lean_tensors import DECODER, tensor_shapes
from inference.models.text_config import TextConfig

_SPREAD = 0.02


class RandomWeights(Mapping[str, Tensor]):
    """The tensors of a checkpoint of that shape: norms and scales are one, all others normal. Nothing is kept."""

    def __init__(self, config: TextConfig, device: torch.device, dtype: torch.dtype, *, seed: int = 0) -> None:
        self._shapes = {DECODER + name: shape for name, shape in tensor_shapes(config).items()}
        self._device, self._dtype = device, dtype
        self._random = torch.Generator(device).manual_seed(seed)

    def __getitem__(self, name: str) -> Tensor:
        """Make the tensor."""
        weight = torch.ones(self._shapes[name], device=self._device, dtype=self._dtype)
        if "norm" in name or "scal" in name:
            return weight
        return weight.normal_(std=_SPREAD, generator=self._random)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    @property
    def size_bytes(self) -> int:
        """Bytes of all of them."""
        return sum(math.prod(shape) for shape in self._shapes.values()) * self._dtype.itemsize
