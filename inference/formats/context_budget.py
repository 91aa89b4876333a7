"""How much of a long document the model reads: near text stays, both far ends are cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

_CHARACTERS_PER_TOKEN = 8
"""More than any text needs on average: what lies beyond the budget by this measure is cut before it is tokenised."""


@dataclass(frozen=True)
class Context:
    """Token ids on either side of a gap; ``truncated_tokens`` were cut from their far ends."""

    prefix_ids: list[int]
    suffix_ids: list[int]
    truncated_tokens: int


@dataclass(frozen=True)
class ContextBudget:
    """At most ``tokens`` of prefix and suffix together.

    When both are long the prefix gets two thirds; what one side does not need goes to the other. All cuts move in steps
    of a block, not with every key, so that the prompt keeps its opening and the prefix cache hits.
    """

    tokens: int

    @property
    def block(self) -> int:
        """Tokens by which a cut moves."""
        return max(1, self.tokens // 8)

    def fit(self, prefix: str, suffix: str, encode: Callable[[str], list[int]]) -> Context:
        """Tokenise what is near and keep what fits."""
        farthest = self.tokens * _CHARACTERS_PER_TOKEN
        skipped = up_to_block(max(0, len(prefix) - farthest), self.block * _CHARACTERS_PER_TOKEN)
        near_prefix, near_suffix = prefix[skipped:], suffix[:farthest]
        prefix_ids, suffix_ids = encode(near_prefix), encode(near_suffix)

        near = self.share(prefix_ids, suffix_ids)
        read, unread = len(near_prefix) + len(near_suffix), skipped + len(suffix) - len(near_suffix)
        if not unread:
            return near
        # an estimate: as many tokens per character as in what was read
        cut = round(unread * (len(prefix_ids) + len(suffix_ids)) / read)
        return replace(near, truncated_tokens=near.truncated_tokens + cut)

    def share(self, prefix_ids: list[int], suffix_ids: list[int]) -> Context:
        """Keep what fits of what is tokenised already."""
        fits = len(prefix_ids) + len(suffix_ids) <= self.tokens
        share = min(up_to_block(len(prefix_ids), self.block), self.tokens * 2 // 3)
        kept_suffix = suffix_ids[: self.tokens - (len(prefix_ids) if fits else share)]
        excess = max(0, len(prefix_ids) + len(kept_suffix) - self.tokens)
        kept_prefix = prefix_ids[up_to_block(excess, self.block) :]
        cut = len(prefix_ids) - len(kept_prefix) + len(suffix_ids) - len(kept_suffix)
        return Context(kept_prefix, kept_suffix, cut)


def up_to_block(length: int, block: int) -> int:
    """``length`` rounded up to whole blocks."""
    return -(-length // block) * block
