"""Changes to one document, as small as they can be: what stays the same is not touched, so no cursor or mark moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

_MAX_LINES = 2000
"""Beyond it lines are not compared one by one: comparing takes the square of their number."""


@dataclass(frozen=True, order=True)
class Change:
    """Put ``text`` between two str offsets of the document."""

    start: int
    end: int
    text: str


def minimal(before: str, after: str, start: int = 0) -> tuple[Change, ...]:
    """The changes that make ``after`` of ``before``, which begins at offset ``start`` of its document.

    Lines that are the same are left out, and of the others what is the same at both ends. No change begins or ends
    within a CRLF.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if max(len(old), len(new)) > _MAX_LINES:
        return _trimmed(before, after, start)
    offsets = [start]
    for line in old:
        offsets.append(offsets[-1] + len(line))
    changes: list[Change] = []
    for tag, low, high, new_low, new_high in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            changes += _trimmed("".join(old[low:high]), "".join(new[new_low:new_high]), offsets[low])
    return tuple(changes)


def applied(text: str, changes: Iterable[Change]) -> str:
    """``text`` with all ``changes`` made; none of them overlap."""
    for change in sorted(changes, reverse=True):
        text = text[: change.start] + change.text + text[change.end :]
    return text


def _trimmed(before: str, after: str, start: int) -> tuple[Change, ...]:
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    if _splits_crlf(before, head) or _splits_crlf(after, head):
        head -= 1
    tail = next((at for at in range(shorter - head) if before[-1 - at] != after[-1 - at]), shorter - head)
    if tail and (_splits_crlf(before, len(before) - tail) or _splits_crlf(after, len(after) - tail)):
        tail -= 1
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    return (Change(start + head, start + head + len(old), new),) if old or new else ()


def _splits_crlf(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at] == "\n" and text[at - 1] == "\r"
