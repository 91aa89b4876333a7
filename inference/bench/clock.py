"""Timing work on a device: warm-up first, then the median of many runs, with the spread that says what is noise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Milliseconds: the median, and the fastest and slowest of ``runs`` runs."""

    median_ms: float
    least_ms: float
    most_ms: float
    runs: int

    def per_step(self, shorter: Timing, steps: int) -> Timing:
        """What each of ``steps`` steps costs, when ``shorter`` is the same work without them."""
        least, most = self.least_ms - shorter.most_ms, self.most_ms - shorter.least_ms
        median = self.median_ms - shorter.median_ms
        return Timing(median / steps, least / steps, most / steps, self.runs)


@dataclass(frozen=True)
class Clock:
    """Measures on ``device``: CUDA events there, the monotonic clock on a CPU.

    ``runs`` is how often work is timed after ``warm_up`` runs; past ``limit_s`` seconds three are enough.
    """

    device: torch.device
    runs: int = 20
    warm_up: int = 2
    limit_s: float = 4.0

    def measure(self, work: Callable[[], object]) -> Timing:
        """Time ``work``, which may leave its result unfinished on the device."""
        for _ in range(self.warm_up):
            work()
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < self.runs and (len(times) < 3 or time.perf_counter() - began < self.limit_s):
            times.append(self._once(work))
        return Timing(statistics.median(times), min(times), max(times), len(times))

    def _once(self, work: Callable[[], object]) -> float:
        if self.device.type != "cuda":
            began = time.perf_counter()
            work()
            return (time.perf_counter() - began) * 1000
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(self.device)
        start.record()
        work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))
