"""Bringing trained weights home from a machine that lets few and small files out.

The averaged weights are rounded to bf16 and split into two planes of bytes: the plane of signs and exponents packs
well, the plane of mantissas does not. Each shard is one zlib stream of at most `SHARD_BYTES`.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.training.architecture import FILE_NAME as SHAPE
from inference.training.checkpointing import POSITION

SHARD_BYTES = 15_000_000
SPLIT = 9_000_000  # values in a shard: 18 MB of bf16, about 13 MB packed
INDEX = "weights.json"


def write_home(average: dict[str, Tensor], run: Path, folder: Path, metrics: dict[str, Any]) -> list[Path]:
    """Write the weights, their index with `metrics` and the run's shape into `folder`; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(average)
    values = torch.cat([average[name].detach().flatten().bfloat16().cpu() for name in names])
    bits = values.view(torch.int16).numpy().view(np.uint16)
    files: list[Path] = []
    for number, start in enumerate(range(0, len(bits), SPLIT)):
        part = bits[start : start + SPLIT]
        packed = zlib.compress((part >> 8).astype(np.uint8).tobytes() + part.astype(np.uint8).tobytes(), 6)
        if len(packed) > SHARD_BYTES:
            raise ValueError(f"shard {number} would be {len(packed):,} bytes, more than {SHARD_BYTES:,}; lower SPLIT")
        files.append(folder / f"weights-{number:02}.zz")
        files[-1].write_bytes(packed)
    index = {
        "tensors": {name: list(average[name].shape) for name in names},
        "shards": [file.name for file in files],
        "shape": _json(run / SHAPE),
        "position": _json(run / POSITION),
        "metrics": metrics,
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return [*files, folder / INDEX]


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def read_home(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights (bf16) and the index of a folder that `write_home` wrote; what is missing is a `ValueError`."""
    if not (folder / INDEX).is_file():
        raise ValueError(f"{folder} holds no {INDEX}; give the folder that came back from training")
    index = json.loads((folder / INDEX).read_text())
    parts: list[NDArray[np.uint16]] = []
    for name in index["shards"]:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing; fetch all files of the last call")
        planes = np.frombuffer(zlib.decompress((folder / name).read_bytes()), dtype=np.uint8)
        high, low = planes.reshape(2, -1).astype(np.uint16)
        parts.append(((high << 8) | low).astype(np.uint16))
    values = torch.from_numpy(np.concatenate(parts).view(np.int16).copy()).view(torch.bfloat16)
    sizes = [int(np.prod(shape)) for shape in index["tensors"].values()]
    if sum(sizes) != len(values):
        raise ValueError(f"{folder} holds {len(values):,} weights, its {INDEX} names {sum(sizes):,}; fetch it again")
    tensors = {
        name: part.reshape(shape)
        for (name, shape), part in zip(index["tensors"].items(), torch.split(values, sizes), strict=True)
    }
    return tensors, index
