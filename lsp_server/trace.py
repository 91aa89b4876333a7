"""What each request cost, one JSON object per line for whoever looks into latency: numbers only, never text."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TextIO

from inference.protocol import InfillResult


class Trace:
    """Writes to ``file`` as things happen; to nothing if it is None."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file

    def answered(self, version: int, ms: float, result: InfillResult | None, items: int) -> None:
        """A request for a document's ``version`` took ``ms`` milliseconds, debounce included, and brought ``items``.

        ``result`` None says that the model was not asked.
        """
        if self._file is None:
            return
        entry: dict[str, object] = {"version": version, "ms": round(ms, 3), "items": items}
        if result is not None:
            entry["usage"] = asdict(result.usage)
            entry["worker_ms"] = asdict(result.timings_ms)
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
