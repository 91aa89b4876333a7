"""Examples packed into rows of one fixed size, so that one compiled step serves the whole run.

A row holds the prompts of several examples end to end, and beside them K canvases for each prompt. Who belongs to whom
is said by owners, one number per token; masks and losses follow from them.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.formats.infill_spec import InfillSpec
from inference.training.examples import Example
from inference.training.noise import PADS_WEIGHT

NOBODY, NOTHING = -1, -2  # owners of what pads prompts, and canvases: they match nothing of the other side
OPEN_ROWS = 8  # rows that wait for an example of the right size


@dataclass(frozen=True)
class RowSize:
    """Tokens of prompts and of canvases in a row, examples at most, canvases per example."""

    prompt: int = 2048
    canvas: int = 896  # 4 canvases of 44 tokens for every 523 of prompts, and some room
    examples: int = 24
    canvases: int = 4

    @property
    def tokens(self) -> int:
        """All token positions of a row."""
        return self.prompt + self.canvas

    def check(self, spec: InfillSpec) -> None:
        """Raise a `ValueError` if one example could be larger than a row."""
        if spec.max_prompt_tokens > self.prompt or spec.canvas_buckets[-1] * self.canvases > self.canvas:
            raise ValueError(f"a row of {self.prompt} + {self.canvas} tokens cannot hold the largest example")


@dataclass(frozen=True)
class PackedBatch:
    """B rows of P prompt and T canvas positions, all int64 but `weights`.

    `owners` number the examples of a row; `numbers` its canvases; `slots` count positions inside a canvas of `sizes`
    tokens; `weights` are 0 on padding, 1 on gap tokens, and the share of one pad where the gap has ended.
    """

    prompts: Tensor  # (B, P)
    prompt_owners: Tensor  # (B, P)
    prompt_positions: Tensor  # (B, P)
    canvases: Tensor  # (B, T)
    canvas_owners: Tensor  # (B, T)
    canvas_numbers: Tensor  # (B, T)
    canvas_positions: Tensor  # (B, T)
    slots: Tensor  # (B, T)
    sizes: Tensor  # (B, T)
    weights: Tensor  # (B, T) float32

    def to(self, device: torch.device) -> "PackedBatch":
        """The same batch on `device`, copied without waiting."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return PackedBatch(**{name: t.long() if name != "weights" else t for name, t in moved.items()})

    def pin_memory(self) -> "PackedBatch":
        """The same batch in memory that a GPU copies from by itself (the name is the data loader's)."""
        return PackedBatch(**{f.name: getattr(self, f.name).pin_memory() for f in fields(self)})

    @property
    def filled(self) -> float:
        """Share of the positions that hold a token of an example."""
        used = int((self.prompt_owners >= 0).sum()) + int((self.canvas_owners >= 0).sum())
        return used / (self.prompts.numel() + self.canvases.numel())


class _Row:
    """A row that is being filled."""

    def __init__(self, size: RowSize) -> None:
        self.size = size
        self.examples: list[Example] = []
        self.prompt = self.canvas = 0

    def holds(self, example: Example) -> bool:
        """Whether there is room for it."""
        return (
            len(self.examples) < self.size.examples
            and self.prompt + len(example.prompt) <= self.size.prompt
            and self.canvas + self.size.canvases * example.canvas_length <= self.size.canvas
        )

    def add(self, example: Example) -> None:
        """Put it at the end."""
        self.examples.append(example)
        self.prompt += len(example.prompt)
        self.canvas += self.size.canvases * example.canvas_length

    def arrays(self, spec: InfillSpec) -> dict[str, NDArray[np.generic]]:
        """The row's columns, as `PackedBatch` names them."""
        size = self.size
        columns: dict[str, NDArray[np.generic]] = {}
        for name, length, filling in (
            ("prompts", size.prompt, 0), ("prompt_owners", size.prompt, NOBODY), ("prompt_positions", size.prompt, 0),
            ("canvases", size.canvas, 0), ("canvas_owners", size.canvas, NOTHING), ("canvas_numbers", size.canvas, 0),
            ("canvas_positions", size.canvas, 0), ("slots", size.canvas, 0), ("sizes", size.canvas, 1),
        ):  # fmt: skip
            columns[name] = np.full(length, filling, dtype=np.int16)
        weights = np.zeros(size.canvas, dtype=np.float32)
        pads = set(spec.pads)
        at, begin = 0, 0
        for owner, example in enumerate(self.examples):
            there = slice(at, at + len(example.prompt))
            columns["prompts"][there] = example.prompt
            columns["prompt_owners"][there] = owner
            columns["prompt_positions"][there] = np.arange(len(example.prompt))
            at = there.stop
            clean = spec.canvas(example.gap, example.canvas_length)
            count = sum(token in pads for token in clean)
            share = min(1.0, PADS_WEIGHT / max(1, count))
            for copy in range(size.canvases):
                here = slice(begin, begin + len(clean))
                columns["canvases"][here] = clean
                columns["canvas_owners"][here] = owner
                columns["canvas_numbers"][here] = owner * size.canvases + copy
                columns["canvas_positions"][here] = len(example.prompt) + np.arange(len(clean))
                columns["slots"][here] = np.arange(len(clean))
                columns["sizes"][here] = len(clean)
                weights[here] = [share if token in pads else 1.0 for token in clean]
                begin = here.stop
        return columns | {"weights": weights}


def pack_rows(examples: Iterable[Example], size: RowSize, rng: random.Random) -> Iterator[_Row]:
    """Rows as they fill up: an example goes into the first open row that has room; when none has, one is given out."""
    rows: list[_Row] = []
    for example in examples:
        row = next((row for row in rows if row.holds(example)), None)
        if row is None:
            if len(rows) >= OPEN_ROWS:
                fullest = max(rows, key=lambda row: row.prompt / size.prompt + row.canvas / size.canvas)
                rows.remove(fullest)
                yield fullest
            row = _Row(size)
            rows.append(row)
        row.add(example)
    rng.shuffle(rows)
    yield from rows


def batch_of(rows: Iterable[_Row], spec: InfillSpec) -> PackedBatch:
    """Rows as one batch."""
    columns = [row.arrays(spec) for row in rows]
    return PackedBatch(
        **{f.name: torch.from_numpy(np.stack([c[f.name] for c in columns])) for f in fields(PackedBatch)}
    )
