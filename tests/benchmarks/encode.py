"""What one typed token costs the encoder, by length of the prefix: ``python -m tests.benchmarks.encode``.

The embedded checkpoint on the CPU, prompts of random ids given to the denoiser directly. Medians in milliseconds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from inference.checkpoint import EMBEDDED
from inference.models.dense_denoiser import DenseDenoiser

LENGTHS = (256, 1024, 2048, 4096)
KEYS, COLD_RUNS, UNTIMED = 60, 3, 5


def milliseconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long ``work`` took, and what it returned."""
    began = time.perf_counter()
    result = work()
    return (time.perf_counter() - began) * 1000, result


def measure(denoiser: DenseDenoiser, length: int) -> tuple[float, float, float]:
    """Medians for a prefix of ``length`` tokens: from scratch; one more token typed; the last token replaced."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(denoiser.vocab_size, (1, length + KEYS), generator=generator)
    other = (ids + 1) % denoiser.vocab_size
    cold = [milliseconds(lambda: denoiser.encode(ids[:, :length]))[0] for _ in range(COLD_RUNS)]
    prompt, warm, replaced = denoiser.encode(ids[:, :length]), list[float](), list[float]()
    for now in range(length, length + KEYS):
        spent, prompt = milliseconds(partial(denoiser.encode, ids[:, : now + 1], prompt, now))
        warm.append(spent)
    changed = torch.cat((ids[:, :-1], other[:, -1:]), dim=1)
    for _ in range(KEYS // 2):
        spent, prompt = milliseconds(partial(denoiser.encode, changed, prompt, prompt.length - 1))
        replaced.append(spent)
    return statistics.median(cold), statistics.median(warm[UNTIMED:]), statistics.median(replaced[UNTIMED:])


def main() -> int:
    """Print the table; 1 when a typed token costs more than 1.2 times as much at the longest prefix."""
    torch.set_num_threads(2)
    denoiser = DenseDenoiser.load(EMBEDDED, torch.device("cpu"), torch.float32)
    table = Table("prefix", "cold", "typed", "last replaced", title="encode, ms")
    results = {length: measure(denoiser, length) for length in LENGTHS}
    for length, medians in results.items():
        table.add_row(str(length), *(f"{median:.2f}" for median in medians))
    ratios = [results[LENGTHS[-1]][column] / results[LENGTHS[0]][column] for column in range(3)]
    table.add_row(f"{LENGTHS[-1]} / {LENGTHS[0]}", *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)
    return int(ratios[1] > 1.2)


if __name__ == "__main__":
    sys.exit(main())
