"""A gap as a search sees it: the lines around it without their indentation, and where a text found may end in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.cursor import CLOSERS
from lsp_server.syntax.gaps import EndRule, Gap

_LINES_ABOVE, _LINES_BELOW = 8, 3
"""Lines compared with those around a text found."""

_FAR = 20
"""Lines looked at in search of them, blank ones included."""

LONGEST_LINE = 400
"""Characters of a line that are looked at, on either side of the gap."""

_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Place:
    """Where a proposal is to go."""

    snapshot: DocumentSnapshot
    gap: Gap

    @cached_property
    def line(self) -> int:
        """The number of the gap's line, from 0."""
        return self.snapshot.lines.line_of(self.gap.start)

    @cached_property
    def line_start(self) -> int:
        """Offset of the gap's line."""
        return self.snapshot.lines.start(self.line)

    @cached_property
    def line_end(self) -> int:
        """Offset of the end of the line that the gap ends in."""
        return self.snapshot.lines.end(self.snapshot.lines.line_of(self.gap.end))

    @cached_property
    def before(self) -> str:
        """The line left of the gap, without its indentation; only the end of a long one."""
        start = max(self.line_start, self.gap.start - LONGEST_LINE)
        return self.snapshot.text[start : self.gap.start].lstrip()

    @cached_property
    def after(self) -> str:
        """The line right of the gap, without white space at its end."""
        return self.snapshot.text[self.gap.end : min(self.line_end, self.gap.end + LONGEST_LINE)].rstrip()

    @cached_property
    def above(self) -> tuple[str, ...]:
        """The lines above that are not blank, the nearest first, without indentation."""
        return self._lines(range(self.line - 1, max(-1, self.line - 1 - _FAR), -1), _LINES_ABOVE)

    @cached_property
    def below(self) -> tuple[str, ...]:
        """The lines below that are not blank, the nearest first, without indentation."""
        last = self.snapshot.lines.line_of(self.gap.end)
        return self._lines(range(last + 1, min(len(self.snapshot.lines), last + 1 + _FAR)), _LINES_BELOW)

    @property
    def is_blank(self) -> bool:
        """Whether nothing but indentation stands left of the gap."""
        return not self.before

    def fitted(self, text: str) -> list[str]:
        """What of the rest of a line, found elsewhere, fits before that which follows the gap; the likeliest first.

        Two where the closer that the syntax promises stands on another line: in text half written it may be another's.
        """
        gap, after = self.gap, self.after.lstrip()
        closer = gap.closer if gap.end_rule is EndRule.CLOSER else ""
        if closer and (not after or after.startswith(closer)):
            end = _closing(text, closer)
            if end is None:
                return [] if after else [text]
            cut = text[:end].rstrip() if closer in CLOSERS else text[:end]
            return [cut] if after else [cut, text]
        if after:
            return [text[: -len(after)]] if text.endswith(after) else []
        return [text]

    def _lines(self, numbers: range, count: int) -> tuple[str, ...]:
        found: list[str] = []
        for number in numbers:
            start, end = self.snapshot.lines.start(number), self.snapshot.lines.end(number)
            if line := self.snapshot.text[start : min(end, start + LONGEST_LINE)].strip():
                found.append(line)
                if len(found) == count:
                    break
        return tuple(found)


def _closing(text: str, closer: str) -> int | None:
    """Where ``closer`` ends what was open before ``text``."""
    if closer not in CLOSERS:
        index = 0
        while index < len(text):
            if text.startswith(closer, index):
                return index
            index += 2 if text[index] == "\\" else 1
        return None
    opened: list[str] = []
    for index, char in enumerate(text):
        if char in _PAIRS:
            opened.append(_PAIRS[char])
        elif char in CLOSERS:
            if not opened:
                return index if char == closer else None
            opened.pop()
    return None
