"""What each request cost, one JSON object per line for whoever looks into latency: numbers only, never text."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from statistics import median
from typing import TextIO

from inference.protocol import InfillResult

_RECENT = 50


class Trace:
    """Writes to ``file`` as things happen; to nothing if it is None. ``listener`` is told a short and a long form."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)
        self.listener: Callable[[str, str], None] | None = None

    @property
    def latency_ms(self) -> float | None:
        """The median of the last requests that the model answered, from request to answer; None before the first."""
        return median(self._recent_ms) if self._recent_ms else None

    def answered(self, version: int, ms: float, result: InfillResult | None, items: int, source: str = "model") -> None:
        """A request for a document's ``version`` took ``ms`` milliseconds, debounce included, and brought ``items``.

        ``result`` None says that the model was not asked for it; ``source`` what answered.
        """
        if result is not None:
            self._recent_ms.append(ms)
        if self._file is None and self.listener is None:
            return
        entry: dict[str, object] = {"version": version, "ms": round(ms, 3), "items": items, "source": source}
        if result is not None:
            entry["usage"] = asdict(result.usage)
            entry["worker_ms"] = asdict(result.timings_ms)
        line = json.dumps(entry)
        if self.listener:
            by = "without the model" if result is None else "by the model"
            self.listener(f"answered {by} in {ms:.0f} ms with {items} items", line)
        if self._file:
            self._file.write(line + "\n")
            self._file.flush()
