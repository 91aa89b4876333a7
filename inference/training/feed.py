"""Batches for training, made in worker processes ahead of time."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from inference.formats.infill_spec import InfillSpec
from inference.training.drawing import BATCH, TokenSampler, draw_examples
from inference.training.examples import Example
from inference.training.packing import PackedBatch, RowSize, batch_of, pack_rows

AHEAD = 2  # batches that each worker has ready: together well under a small /dev/shm


@dataclass(frozen=True)
class Feed(IterableDataset):  # type: ignore[type-arg]
    """An endless stream of batches of `rows` rows; `largest_canvas` may be changed while it runs."""

    sampler: TokenSampler
    spec: InfillSpec
    size: RowSize
    rows: int
    seed: int
    largest_canvas: "Synchronized[int]"

    def __iter__(self) -> Iterator[PackedBatch]:
        info = get_worker_info()
        rng = random.Random(f"{self.seed}/{info.id if info else 0}")
        waiting = []
        for row in pack_rows(self.examples(rng), self.size, rng):
            waiting.append(row)
            if len(waiting) == self.rows:
                yield batch_of(waiting, self.spec)
                waiting = []

    def examples(self, rng: random.Random) -> Iterator[Example]:
        """Gaps without end."""
        while True:
            yield from draw_examples(self.sampler, self.spec, rng, BATCH, self.largest_canvas.value)

    def batches(self, workers: int, pinned: bool) -> Iterator[PackedBatch]:
        """The stream, made by `workers` processes; in this one if there are none."""
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers are the parallel part
        settings: dict[str, Any] = {"prefetch_factor": AHEAD, "multiprocessing_context": "fork"} if workers else {}
        loader = DataLoader(self, batch_size=None, num_workers=workers, pin_memory=pinned, **settings)
        return iter(loader)
