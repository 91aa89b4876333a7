"""The safetensors files of a checkpoint folder, from their headers alone. Standard library only.

A safetensors file is eight bytes of little-endian header length, a JSON header, and the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import EngineError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64,
}  # fmt: skip
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies; ``dtype`` as safetensors spells it (``BF16``)."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint in ``folder``, by name: one file, or an index and its shards.

    Raises :class:`EngineError`: a file that is missing, damaged, cut short, a pickle or outside the folder.
    """
    index = folder / INDEX
    if not index.is_file():
        return read_header(_there(folder, folder / SINGLE))
    weight_map = _weight_map(index)
    shards = {name: read_header(_shard(index, name)) for name in sorted(set(weight_map.values()))}
    for name, shard in weight_map.items():
        if name not in shards[shard]:
            raise EngineError(f"{index} says that {name} is in {shard}, which lacks it; download the checkpoint again")
    return {name: shards[shard][name] for name, shard in weight_map.items()}


def weight_file_names(folder: Path) -> list[str]:
    """The names of the weight files that belong to ``folder``, whether they are there or not. Raises EngineError."""
    index = folder / INDEX
    return sorted(set(_weight_map(index).values())) if index.is_file() else [SINGLE]


def read_header(file: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file. Raises :class:`EngineError` unless header and length are as they must be."""
    try:
        return dict(_tensors(file))
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        what = error.args[-1] if isinstance(error, _DamageError) else "its header cannot be read"
        raise EngineError(f"{file} is damaged or cut short ({what}); download the checkpoint again") from error


class _DamageError(ValueError):
    pass


def _tensors(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
            raise _DamageError(f"its header would be {length} bytes long, the file has {size}")
        header = json.loads(opened.read(length))
    if not isinstance(header, dict):
        raise _DamageError("its header is no JSON object")
    end = 0
    for name, entry in sorted(header.items(), key=_start):
        if name == "__metadata__":
            continue
        tensor = StoredTensor(file, entry["dtype"], tuple(entry["shape"]), entry["data_offsets"][1] - end)
        whole = (
            min(tensor.shape, default=1) >= 0 and tensor.elements * DTYPE_BITS[tensor.dtype] == 8 * tensor.size_bytes
        )
        if entry["data_offsets"][0] != end or not whole:
            raise _DamageError(f"{name} is not where its header says")
        end += tensor.size_bytes
        yield name, tensor
    if 8 + length + end != size:
        raise _DamageError(f"it has {size} bytes and needs {8 + length + end}")


def _start(item: tuple[str, Any]) -> int:
    return -1 if item[0] == "__metadata__" else int(item[1]["data_offsets"][0])


def _weight_map(index: Path) -> Mapping[str, str]:
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        found = content.get("weight_map") if isinstance(content, dict) else None
    except (OSError, ValueError) as error:
        raise EngineError(f"{index} cannot be read as JSON ({error}); download the checkpoint again") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise EngineError(f"{index} has no 'weight_map' of file names; download the checkpoint again")
    return found


def _shard(index: Path, name: str) -> Path:
    file = index.parent / name
    if file.parent != index.parent or file.name != name or name == "..":
        raise EngineError(f"{index} points outside its folder, to {file}; do not trust this checkpoint")
    return _there(index.parent, file)


def _there(folder: Path, file: Path) -> Path:
    if file.is_file():
        return file
    pickles = sorted(path.name for suffix in _PICKLES for path in folder.glob(suffix))
    if pickles and file.name == SINGLE:
        raise EngineError(
            f"{folder} holds its weights as a pickle ({pickles[0]}), which can run code; convert it to safetensors"
        )
    raise EngineError(f"{file} is missing; download the checkpoint again")
