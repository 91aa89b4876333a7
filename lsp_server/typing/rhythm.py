"""When to ask: not between two keys of a burst, at once when the user pauses. Pure but for its clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

MOST_MS = 250
"""Nobody waits longer, however slow the typing."""

PAUSE_S = 0.7
"""Who has not touched a key for so long is reading, not typing."""

_PATIENCE = 1.3
"""The next key of a burst is due within so many mean intervals, nearly always."""
_INTERVALS = 8
_BURST = 3
_LATENCIES = 8


class Rhythm:
    """How fast one user types and one model answers, as lately seen. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = float("-inf")
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)

    def key(self) -> None:
        """A key was pressed now."""
        now = self._clock()
        if now - self._last > PAUSE_S:
            self._intervals.clear()
        else:
            self._intervals.append((now - self._last) * 1000)
        self._last = now

    def answered(self, ms: float) -> None:
        """The model took ``ms`` milliseconds for an answer."""
        self._latencies.append(ms)

    @property
    def expected_ms(self) -> float:
        """How long the next answer will take, as the last ones did; 0 if there were none."""
        return sorted(self._latencies)[len(self._latencies) // 2] if self._latencies else 0.0

    def wait_ms(self, least: float, *, in_word: bool = True) -> float:
        """How long to wait before the model is asked: ``least`` in a pause, up to :data:`MOST_MS` in a burst.

        Behind a space, a bracket or a dot is where people look for what comes next: only within a word is waited.
        There, in a burst, an answer that comes before the next key would be typed over: what that key takes is waited
        for, less what the model itself takes, and less the time that has passed since the last key.
        """
        since = (self._clock() - self._last) * 1000
        if not in_word or len(self._intervals) < _BURST or since > PAUSE_S * 1000:
            return least
        due = _PATIENCE * sum(self._intervals) / len(self._intervals)
        return max(least, min(due - self.expected_ms - since, MOST_MS))
