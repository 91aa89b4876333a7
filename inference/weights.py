"""The weights of a checkpoint folder: read one at a time, mapped from disk, under one name each.

Encoder and decoder share their text weights, and the output projection is the embedding; a file may hold such a tensor
under one of its names or under all of them. Here it has the decoder's. Only ``layer_scalar`` is the encoder's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from inference.weight_files import StoredTensor, stored_tensors

ENCODER = "model.encoder.language_model."
DECODER = "model.decoder."
VISION = ("model.encoder.vision_tower.", "model.encoder.embed_vision.")
_OUTPUT = "lm_head.weight"
_OWN = ".layer_scalar"


def shared_name(name: str) -> str:
    """The one name of a weight that has several: the decoder's."""
    if name == _OUTPUT:
        return f"{DECODER}embed_tokens.weight"
    if name.startswith(ENCODER) and not name.endswith(_OWN):
        return DECODER + name.removeprefix(ENCODER)
    return name


def encoder_name(name: str) -> str:
    """What the encoder calls the weight that the decoder calls ``name``."""
    return ENCODER + name.removeprefix(DECODER)


class Weights(Mapping[str, Tensor]):
    """Read-only. A tensor is read when it is asked for, as a view of the mapped file, and not kept.

    The vision tower's weights are left out unless ``vision``. Raises :class:`EngineError` for damaged files.
    """

    def __init__(self, folder: Path, *, vision: bool = False) -> None:
        self._stored: dict[str, tuple[str, StoredTensor]] = {}
        for name, stored in stored_tensors(folder).items():
            if vision or not name.startswith(VISION):
                shared = shared_name(name)
                if shared == name or shared not in self._stored:
                    self._stored[shared] = (name, stored)
        self._files: dict[Path, Any] = {}

    def __getitem__(self, name: str) -> Tensor:
        """Map the tensor; the pages are read as they are touched."""
        name_there, stored = self._stored[name]
        if stored.file not in self._files:
            self._files[stored.file] = safe_open(stored.file, framework="pt")
        tensor: Tensor = self._files[stored.file].get_tensor(name_there)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def stored(self, name: str) -> StoredTensor:
        """Shape, dtype and size, without reading the tensor."""
        return self._stored[name][1]

    @property
    def total_bytes(self) -> int:
        """Of all tensors here, as they are stored."""
        return sum(stored.size_bytes for _, stored in self._stored.values())


class FollowedWeights(Mapping[str, Tensor]):
    """``weights``, and ``follow(bytes read, bytes in all)`` before each tensor that is read for the first time."""

    def __init__(self, weights: Mapping[str, Tensor], sizes: Weights, follow: Callable[[int, int], None]) -> None:
        self._weights = weights
        self._sizes = sizes
        self._total = sizes.total_bytes
        self._follow = follow
        self._unread = set(sizes)
        self._read_bytes = 0

    def __getitem__(self, name: str) -> Tensor:
        """Read the tensor and tell."""
        if name in self._unread:
            self._unread.remove(name)
            self._follow(self._read_bytes, self._total)
            self._read_bytes += self._sizes.stored(name).size_bytes
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __contains__(self, name: object) -> bool:
        return name in self._weights
