"""The stretch of a document that the model reads around a gap, frozen where it lies far from the cursor.

The suffix comes first in the prompt of a model trained for gaps: a suffix that changes with a key, or a prefix that
begins elsewhere with each key, would have the whole prompt read again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lsp_server.syntax.gaps import Gap

_BLOCK_START = re.compile(r"\n[ \t\r]*\n(?=\S)")
_CLOSERS = re.compile(r"[\s)\]}\"'`]*")
"""What editors insert behind the cursor by themselves."""

_MAX_BETWEEN = 200
_HEAD = 200
_MOVED = 1000
"""Text inserted or deleted above the window, such as an import, may shift it by this many characters."""


@dataclass(frozen=True)
class Budget:
    """How many characters may go to the model: before the gap, after it, and of other files."""

    prefix: int = 4000
    suffix: int = 1500
    snippets: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.prefix + self.suffix + self.snippets

    def within(self, characters: int) -> Budget:
        """A budget of the same proportions and at most ``characters``; snippets get at most a quarter of it."""
        if self.total <= characters:
            return self
        snippets = min(self.snippets, characters // 4)
        share = (characters - snippets) / max(1, self.prefix + self.suffix)
        return Budget(int(self.prefix * min(1, share)), int(self.suffix * min(1, share)), snippets)


@dataclass(frozen=True)
class Window:
    """``start`` is the str offset where the prefix begins, with ``head``; ``suffix`` is the document's text as it is.

    ``reaches_end`` says that the suffix ends where the document does; ``snippets`` are other files' text.
    """

    start: int
    head: str
    suffix: str
    reaches_end: bool
    snippets: str = ""

    @classmethod
    def around(cls, text: str, gap: Gap, budget: Budget, snippets: str = "") -> Window:
        """A window with room to type in: of a long prefix the nearest two thirds of the budget."""
        start, end = _prefix_start(text, gap.start, budget.prefix), _suffix_end(text, gap.end, budget.suffix)
        return cls(start, text[start : start + _HEAD], text[gap.end : end], end == len(text), snippets)

    def following(self, text: str, gap: Gap, budget: Budget) -> Window | None:
        """The same window after some typing, its start moved if it is full; None when the cursor is elsewhere.

        The prefix may take what suffix and snippets leave of the whole budget.

        Closers that stand between the gap and the suffix were inserted by the editor: the model reads neither them nor
        their coming and going.
        """
        if not self._has_suffix_at(text, gap.end) or (start := self._start_in(text)) is None or gap.start < start:
            return None
        most = budget.total - len(self.suffix) - len(self.snippets)
        if gap.start - start > most:
            start = _prefix_start(text, gap.start, most)
        return replace(self, start=start, head=text[start : start + _HEAD] if start != self.start else self.head)

    def _has_suffix_at(self, text: str, offset: int) -> bool:
        if self.reaches_end:
            at = len(text) - len(self.suffix)
            found = text.endswith(self.suffix)
        else:
            at = text.find(self.suffix, offset, offset + _MAX_BETWEEN + len(self.suffix))
            found = at >= 0
        near = offset <= at <= offset + _MAX_BETWEEN
        return found and near and _CLOSERS.fullmatch(text, offset, at) is not None

    def _start_in(self, text: str) -> int | None:
        if self.start == 0 or text.startswith(self.head, self.start):
            return self.start
        first = max(0, self.start - _MOVED)
        start = text.find(self.head, first, self.start + _MOVED + len(self.head))
        return start if start >= 0 else None


def _prefix_start(text: str, end: int, budget: int) -> int:
    """0 if all fits; else the first block, or line, behind the point that leaves a third of the budget free."""
    if end <= budget:
        return 0
    raw = end - budget * 2 // 3
    limit = raw + budget // 8
    if block := _BLOCK_START.search(text, raw - 1, limit):
        return block.end()
    line = text.find("\n", raw - 1, limit)
    return line + 1 if line >= 0 else raw


def _suffix_end(text: str, start: int, budget: int) -> int:
    """Where to end: before the last block that does not fit, else after the last whole line."""
    if len(text) - start <= budget:
        return len(text)
    limit = start + budget
    blocks = [match.start() + 1 for match in _BLOCK_START.finditer(text, start + budget // 2, limit)]
    if blocks:
        return blocks[-1]
    line = text.rfind("\n", start + budget // 2, limit)
    return line + 1 if line >= 0 else limit
