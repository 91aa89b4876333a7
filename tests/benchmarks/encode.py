"""What one typed token costs the encoder, by length of the prefix: ``python -m tests.benchmarks.encode``.

The embedded checkpoint on the CPU, prompts of random ids given to the denoiser directly. Medians in milliseconds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from inference.checkpoint import EMBEDDED, load_checkpoint
from inference.models.base import Denoiser, PromptCache
from lsp_server.bench.progress import progress

LENGTHS = (256, 1024, 2048, 4096)
KEYS, COLD_RUNS, UNTIMED = 60, 3, 5


def milliseconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long ``work`` took, and what it returned."""
    began = time.perf_counter()
    result = work()
    return (time.perf_counter() - began) * 1000, result


@dataclass
class Typing:
    """Somebody types behind a prefix of ``length`` tokens; ``cold``, ``typed`` and ``replaced`` in milliseconds."""

    denoiser: Denoiser
    length: int
    cold: list[float] = field(default_factory=list)
    typed: list[float] = field(default_factory=list)
    replaced: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.length)
        self.ids = torch.randint(self.denoiser.vocab_size, (1, self.length + KEYS), generator=generator)
        self.prompt: PromptCache = None

    def start(self) -> None:
        """Encode the prefix from scratch."""
        spent, self.prompt = milliseconds(lambda: self.denoiser.encode(self.ids[:, : self.length]))
        self.cold.append(spent)

    def type(self, key: int) -> None:
        """Type one more token."""
        now = self.length + key
        spent, self.prompt = milliseconds(partial(self.denoiser.encode, self.ids[:, : now + 1], self.prompt, now))
        self.typed.append(spent)

    def replace(self) -> None:
        """Replace the last token by another."""
        self.ids[:, -1] = (self.ids[:, -1] + 1) % self.denoiser.vocab_size
        shared = self.length + KEYS - 1
        spent, self.prompt = milliseconds(partial(self.denoiser.encode, self.ids, self.prompt, shared))
        self.replaced.append(spent)

    def medians(self) -> tuple[float, float, float]:
        """Of the three."""
        typed, replaced = self.typed[UNTIMED:], self.replaced[UNTIMED:]
        return statistics.median(self.cold), statistics.median(typed), statistics.median(replaced)


def measure_all() -> dict[int, tuple[float, float, float]]:
    """Medians at every length: from scratch; one more token typed; the last token replaced.

    The embedded checkpoint as the worker loads it. The lengths take turns: what else runs slows all of them.
    """
    torch.set_num_threads(2)
    denoiser = load_checkpoint(EMBEDDED, lambda *_: None).denoiser
    typings = [Typing(denoiser, length) for length in LENGTHS]
    turns: list[Callable[[Typing], None]] = [Typing.start] * COLD_RUNS
    turns += [partial(Typing.type, key=key) for key in range(KEYS)]
    turns += [Typing.replace] * (KEYS // 2)
    with progress("encoding", len(turns)) as advance:
        for turn in turns:
            for typing in typings:
                turn(typing)
            advance("")
    return {typing.length: typing.medians() for typing in typings}


def main() -> int:
    """Print the table; 1 when a typed token costs more than 1.2 times as much at the longest prefix."""
    results = measure_all()
    table = Table("prefix", "cold", "typed", "last replaced", title="encode, ms")
    for length, medians in results.items():
        table.add_row(str(length), *(f"{median:.2f}" for median in medians))
    ratios = [longest / shortest for longest, shortest in zip(results[LENGTHS[-1]], results[LENGTHS[0]], strict=True)]
    table.add_row(f"{LENGTHS[-1]} / {LENGTHS[0]}", *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)
    return int(ratios[1] > 1.2)


if __name__ == "__main__":
    sys.exit(main())
