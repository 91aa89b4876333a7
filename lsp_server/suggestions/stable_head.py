"""How much of a draft will not change any more: its first whole lines, once several steps agree on them."""

from __future__ import annotations

from collections import deque
from itertools import takewhile

STEPS = 3


class StableHead:
    """Hears one request's drafts; ``steps`` of them in a row must agree."""

    def __init__(self, steps: int = STEPS) -> None:
        self._drafts: deque[str] = deque(maxlen=steps)

    def after(self, draft: str) -> str:
        """The whole lines, without the last line end, with which this draft and those just before it begin."""
        self._drafts.append(draft)
        if len(self._drafts) < (self._drafts.maxlen or 0):
            return ""
        pairs = zip(min(self._drafts), max(self._drafts), strict=False)  # what these two share, all do
        common = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return common.rpartition("\n")[0].rstrip()
