"""Encoded prompts of several documents, so that a new prompt is only encoded from where it first differs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from inference.models.base import PromptCache


@dataclass(frozen=True)
class _Entry:
    """A prompt, what the encoder made of it, and how many bytes that holds."""

    prompt_ids: list[int]
    prompt: PromptCache
    size: int


class PrefixCache:
    """At most ``max_entries`` encoded prompts of at most ``max_bytes`` together; the least recently kept go first.

    Bookkeeping only, for one thread: it never looks into a prompt's keys and values.
    """

    def __init__(self, max_bytes: int, max_entries: int = 8) -> None:
        self._max_bytes, self._max_entries = max_bytes, max_entries
        self._entries: list[_Entry] = []  # the most recent last

    def __len__(self) -> int:
        """Number of prompts kept."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of all prompts together."""
        return sum(entry.size for entry in self._entries)

    def longest_shared(self, prompt_ids: Sequence[int]) -> tuple[PromptCache | None, int]:
        """The prompt that shares the longest prefix with ``prompt_ids``, and that prefix's length in tokens.

        (None, 0) when none shares anything; among equals the most recent.
        """
        wanted = list(prompt_ids)
        best, longest = None, 0
        for entry in reversed(self._entries):
            if (shared := shared_length(entry.prompt_ids, wanted)) > longest:
                best, longest = entry.prompt, shared
        return best, longest

    def keep(self, prompt_ids: Sequence[int], prompt: PromptCache, size: int) -> None:
        """Keep ``prompt`` (``size`` bytes) in place of older states of the same document; too large a one is not kept.

        Prompts are of the same document when they share more than half of the longer one, or when the new one begins
        with the whole older one: a prompt that comes in pieces, and that of a canvas after the first.
        """
        ids = list(prompt_ids)
        self._entries = [entry for entry in self._entries if not _same_document(entry.prompt_ids, ids)]
        if size <= self._max_bytes and self._max_entries:
            self._entries.append(_Entry(ids, prompt, size))
        while len(self) > self._max_entries or self.size > self._max_bytes:
            del self._entries[0]

    def clear(self) -> None:
        """Forget every prompt."""
        self._entries.clear()


def shared_length(one: list[int], other: list[int]) -> int:
    """How many tokens ``one`` and ``other`` have in common from their start."""
    shortest = min(len(one), len(other))
    # slices compare in C: a dozen of them are much faster than a loop over thousands of tokens
    return bisect_left(range(shortest), True, key=lambda at: one[: at + 1] != other[: at + 1])


def _same_document(older: list[int], newer: list[int]) -> bool:
    shared = shared_length(older, newer)
    return shared == len(older) or 2 * shared > max(len(older), len(newer))
