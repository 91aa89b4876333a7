"""The type-through cache: what the model said, found again wherever the user types along it, comes back or undoes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from lsp_server.suggestions.suggest import Suggestion
from lsp_server.typing.anchor import Anchor, heads
from lsp_server.typing.question import Question
from lsp_server.typing.remainder import remainder

CAPACITY = 512
CAPACITY_BYTES = 1_000_000
BUCKET = 64
"""Suggestions kept for one place; so many are compared at a key, at most."""

_SLACK = 64
"""What the editor may type beyond a suggestion's own length: the indentation of blank lines."""
_ENTRY_BYTES = 500
"""What an entry costs besides its texts."""


@dataclass(frozen=True)
class Hit:
    """``items`` are for the question as it was asked; empty: the model had nothing to say here."""

    items: tuple[Suggestion, ...]


@dataclass(frozen=True)
class _Entry:
    anchor: Anchor
    items: tuple[Suggestion, ...]
    candidates: int
    """How many were asked for."""

    @property
    def longest(self) -> int:
        return max((len(item.text) for item in self.items), default=0)

    @property
    def size(self) -> int:
        return _ENTRY_BYTES + 4 * (len(self.anchor.tail) + sum(len(item.text) for item in self.items))


_Key = tuple[Hashable, bytes]
_Bucket = OrderedDict[Anchor, _Entry]


class TypeThrough:
    """Bounded by entries and bytes, the least recently used go first. Only one thread touches it.

    An entry lives in the bucket of its scope and of the text behind its gap, which typing does not change.
    """

    def __init__(self, capacity: int = CAPACITY, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._buckets: OrderedDict[_Key, _Bucket] = OrderedDict()
        self._count = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        return self._bytes

    def keep(self, question: Question, items: Sequence[Suggestion]) -> None:
        """Remember what the model said, silence included. What does not begin at the cursor is not kept."""
        text, offset, reach = question.snapshot.text, question.offset, question.options.suffix_characters
        kept = tuple(item for given in items if (item := _at_cursor(given, text, offset)))
        if items and not kept:
            return
        anchor = Anchor.at(text, offset, reach)
        key = (question.scope, anchor.head)
        bucket = self._buckets.setdefault(key, OrderedDict())
        self._drop(bucket, anchor)
        bucket[anchor] = entry = _Entry(anchor, kept, question.candidates)
        self._count, self._bytes = self._count + 1, self._bytes + entry.size
        self._buckets.move_to_end(key)
        self._shrink(bucket)

    def find(self, question: Question) -> Hit | None:
        """The answer to a question if it is known; None if the model must be asked."""
        text, offset, reach = question.snapshot.text, question.offset, question.options.suffix_characters
        scope = question.scope
        for head, inserted in heads(text, offset, reach):
            if (bucket := self._buckets.get((scope, head))) is None:
                continue
            for anchor, entry in reversed(bucket.items()):
                if (
                    entry.candidates >= question.candidates
                    and (items := _remaining(entry, text, offset, inserted)) is not None
                ):
                    bucket.move_to_end(anchor)
                    self._buckets.move_to_end((scope, head))
                    return Hit(items)
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        self._count = self._bytes = 0

    def _shrink(self, newest: _Bucket) -> None:
        while len(newest) > BUCKET:
            self._drop(newest, next(iter(newest)))
        while self._count > self._capacity or (self._bytes > self._capacity_bytes and self._count > 1):
            key, oldest = next(iter(self._buckets.items()))
            if oldest:
                self._drop(oldest, next(iter(oldest)))
            if not oldest:
                del self._buckets[key]

    def _drop(self, bucket: _Bucket, anchor: Anchor) -> None:
        if entry := bucket.pop(anchor, None):
            self._count, self._bytes = self._count - 1, self._bytes - entry.size


def _at_cursor(item: Suggestion, text: str, offset: int) -> Suggestion | None:
    """The suggestion as an insertion at the cursor; None if it replaces what stands there."""
    known = text[item.start_offset : offset]
    if item.start_offset > offset or item.end_offset != offset or not item.text.startswith(known):
        return None
    return replace(item, text=item.text[len(known) :], start_offset=offset)


def _remaining(entry: _Entry, text: str, offset: int, inserted: str) -> tuple[Suggestion, ...] | None:
    """What of an entry still fits; None if nothing does, or if it belongs elsewhere."""
    for typed in entry.anchor.typed(text, offset, entry.longest + _SLACK if entry.items else 0):
        if not entry.items:
            return () if not typed and not inserted else None
        found: dict[str, Suggestion] = {}
        for item in entry.items:
            if rest := remainder(item.text, typed, inserted):
                moved = replace(item, text=rest.text, start_offset=offset, end_offset=offset + rest.covered)
                found.setdefault(rest.text, moved)
        if found:
            return tuple(found.values())
    return None
