"""What a worker counts about itself, for ``GET /metrics`` in Prometheus' text format.

No text, no document and no window is named: only numbers, priorities, stages and outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from inference.job import Outcome
from inference.protocol import InfillResult, Priority

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


class Metrics:
    """One worker's numbers, in a registry of their own. May be used by any thread."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._waiting = self._gauge("waiting_requests", "Requests in the queue.", "priority")
        self._under_way = self._gauge("requests_under_way", "Requests begun in the engine.")
        self._outcomes = self._counter("requests", "Requests by how they ended.", "outcome")
        self._answers = self._counter("answers", "Answers by where the best text came from.", "source")
        self._batch_size = self._histogram("batch_size", "Requests that one step advanced.", _SIZES)
        self._denoising_steps = self._counter("denoising_steps", "Denoising steps of requests.")
        self._prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts.")
        self._cached_tokens = self._counter("cached_tokens", "Tokens of prompts that the prefix cache held.")
        self._cache = self._counter("prefix_cache", "Requests by whether it held a part of their prompt.", "found")
        self._stages = self._histogram("stage_seconds", "Seconds of each stage of a request.", _SECONDS, "stage")

    def watch(self, waiting: Callable[[Priority], int], under_way: Callable[[], int]) -> None:
        """Ask these for the lengths of the queue and the batch each time that somebody reads the metrics."""
        for priority in Priority:
            self._waiting.labels(priority.value).set_function(partial(waiting, priority))
        self._under_way.set_function(under_way)

    def stepped(self, size: int) -> None:
        """Count one step of the engine, which advanced ``size`` requests."""
        self._batch_size.observe(size)

    def ended(self, outcome: Outcome) -> None:
        """Count one request, whether it was ever begun or not."""
        if not isinstance(outcome, InfillResult):
            self._outcomes.labels(outcome.code.value).inc()
            return
        self._outcomes.labels("filled").inc()
        self._answers.labels("proposal" if any(choice.proposed for choice in outcome.choices[:1]) else "model").inc()
        usage, timings = outcome.usage, outcome.timings_ms
        self._denoising_steps.inc(usage.denoising_steps)
        self._prompt_tokens.inc(usage.prompt_tokens)
        self._cached_tokens.inc(usage.cached_tokens)
        self._cache.labels("hit" if usage.cached_tokens else "miss").inc()
        for stage in ("queue", "encode", "denoise", "total"):
            self._stages.labels(stage).observe(getattr(timings, stage) / 1000)

    def render(self) -> bytes:
        """Return the text that a Prometheus server reads."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"lacuna_{name}", what, labels, registry=self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"lacuna_{name}", what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"lacuna_{name}", what, labels, buckets=buckets, registry=self._registry)
