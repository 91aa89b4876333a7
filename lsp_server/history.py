"""What the user changed last, as a few edits of some lines each rather than as keystrokes. Pure but for its list."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass
from typing import NamedTuple

from lsp_server.snapshot import DocumentSnapshot

_KEPT = 24
_PAUSE_S, _NEAR_LINES = 1.0, 8
"""Keystrokes that are further apart, in time or in place, belong to two edits. As Zed groups them."""

_MAX_CHARACTERS = 20_000
"""An edit beyond is a file that was pasted or formatted: nobody's next step follows from it."""

_BLOCK = 4096


@dataclass(frozen=True)
class RecentEdit:
    """In ``uri``, from 0-based ``line`` on, the lines ``before`` (no line end at the end) became ``after``.

    ``start`` is the str offset where the changed text begins in the document after the edit, ``removed`` and
    ``inserted`` the text without what is the same on both sides; ``at`` counts seconds of the history's clock.
    """

    uri: str
    line: int
    before: str
    after: str
    start: int
    removed: str
    inserted: str
    at: float


@dataclass(eq=False)
class _Run:
    """Keystrokes that belong together. ``old`` is what stood where ``document`` now has ``start`` .. ``end``."""

    document: DocumentSnapshot
    start: int
    end: int
    old: str
    at: float

    def is_near(self, start: int, end: int) -> bool:
        """Whether a span of ``document`` is at most ``_NEAR_LINES`` away."""
        lines = self.document.lines
        below = lines.line_of(start) - lines.line_of(self.end)
        above = lines.line_of(self.start) - lines.line_of(end)
        return max(below, above) <= _NEAR_LINES

    def follow(self, change: _Change, after: DocumentSnapshot) -> None:
        """Keep the place while another one of the document changes."""
        if change.end <= self.start:
            self.start, self.end = self.start + change.growth, self.end + change.growth
        self.document = after

    def edit(self) -> RecentEdit | None:
        """What has come of it; None if that is nothing, or too much to be told."""
        text, lines = self.document.text, self.document.lines
        inserted = text[self.start : self.end]
        head = _common_prefix(self.old, inserted)
        tail = _common_suffix(self.old, inserted, head)
        removed, inserted = self.old[head : len(self.old) - tail], inserted[head : len(inserted) - tail]
        start, end = self.start + head, self.end - tail
        first = lines.start(lines.line_of(start))
        last = lines.end(lines.line_of(end))
        if not (removed or inserted) or max(len(removed), last - first) > _MAX_CHARACTERS:
            return None
        before, after = text[first:start] + removed + text[end:last], text[first:last]
        return RecentEdit(self.document.uri, lines.line_of(start), before, after, start, removed, inserted, self.at)


class _Change(NamedTuple):
    """The span ``start`` .. ``end`` of a document was replaced, and the document grew."""

    start: int
    end: int
    growth: int


class History:
    """The last edits of all documents. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._edits: deque[RecentEdit] = deque(maxlen=_KEPT)
        self._runs: list[_Run] = []
        """Still going on, several where somebody types with several cursors; the latest last."""

    def now(self) -> float:
        """The clock that ``RecentEdit.at`` was read from."""
        return self._clock()

    def note(self, before: DocumentSnapshot, after: DocumentSnapshot) -> None:
        """Take in that a document changed in one place."""
        now = self._clock()
        self._end(run for run in self._runs if now - run.at > _PAUSE_S)
        if before.text == after.text:
            return
        head = _common_prefix(before.text, after.text)
        tail = _common_suffix(before.text, after.text, head)
        change = _Change(head, len(before.text) - tail, len(after.text) - len(before.text))
        near: list[_Run] = []
        others: list[_Run] = []
        for run in self._runs:
            if run.document.uri == before.uri and run.document.text == before.text:
                is_near = run.is_near(change.start, change.end)
                (near if is_near else others).append(run)
        for run in others:
            run.follow(change, after)
        self._runs = [run for run in self._runs if run not in near]
        touched = _joined(near, change, before.text, after, now)
        self._runs.append(touched)
        if max(len(touched.old), touched.end - touched.start) > _MAX_CHARACTERS // 4:
            self._end([touched])
        self._end(self._runs[:-_KEPT])

    def recent(self, uri: str | None = None) -> tuple[RecentEdit, ...]:
        """The edits, newest first; of one document if ``uri`` says so."""
        edits = list(self._edits)
        for run in self._runs:
            _settle(edits, run.edit())
        return tuple([edit for edit in reversed(edits) if uri is None or edit.uri == uri][:_KEPT])

    def _end(self, runs: Iterable[_Run]) -> None:
        for run in list(runs):
            self._runs.remove(run)
            _settle(self._edits, run.edit())


def _joined(runs: list[_Run], change: _Change, text: str, after: DocumentSnapshot, now: float) -> _Run:
    """One run of some in ``text`` and of a change there, with what lies between them."""
    start = at = min([change.start, *(run.start for run in runs)])
    old = ""
    for run in sorted(runs, key=lambda run: run.start):
        old += text[at : run.start] + run.old
        at = run.end
    end = max(at, change.end)
    return _Run(after, start, end + change.growth, old + text[at:end], now)


def _settle(edits: MutableSequence[RecentEdit], edit: RecentEdit | None) -> None:
    """Add an edit; one that takes back the last one takes it away."""
    last = edits[-1] if edits else None
    if edit is None:
        return
    place = (edit.uri, edit.start, edit.removed, edit.inserted)
    if last and place == (last.uri, last.start, last.inserted, last.removed):
        edits.pop()
    else:
        edits.append(edit)


def _common_prefix(one: str, other: str) -> int:
    """How many characters begin both, found by comparing blocks: a long text costs what reading it once costs."""
    most, at = min(len(one), len(other)), 0
    while at < most and one.startswith(other[at : at + _BLOCK], at):
        at += _BLOCK
    low, high = min(at, most), min(at + _BLOCK, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _common_suffix(one: str, other: str, head: int) -> int:
    """How many characters end both, none of them among the first ``head``."""
    most, at = min(len(one), len(other)) - head, 0
    while at + _BLOCK <= most and one.endswith(other[len(other) - at - _BLOCK : len(other) - at], 0, len(one) - at):
        at += _BLOCK
    low, high = at, min(at + _BLOCK, most)
    while low < high:
        middle = (low + high + 1) // 2
        same = one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]
        low, high = (middle, high) if same else (low, middle - 1)
    return low
