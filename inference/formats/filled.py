"""How far a request is filled: what a canvas is laid out after, and what it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from inference.formats.base import Reading
from inference.protocol import FinishReason, InfillRequest, Masked, Segment


@dataclass(frozen=True)
class Filled:
    """What is filled so far.

    ``fills`` holds the token ids of every gap up to the one at hand, ``log_prob`` the sum over all that was ``scored``;
    ``cut``: a gap has run out of tokens; ``ended``: the gap at hand needs no further canvas.
    """

    language_id: str
    segments: tuple[Segment, ...]
    fills: tuple[tuple[int, ...], ...] = ((),)
    log_prob: float = 0.0
    scored: int = 0
    cut: bool = False
    ended: bool = False

    @classmethod
    def nothing_of(cls, request: InfillRequest) -> Filled:
        """At the first gap."""
        return cls(request.language_id, request.segments)

    @property
    def gaps(self) -> list[Masked]:
        """All gaps of the request."""
        return [segment for segment in self.segments if isinstance(segment, Masked)]

    @property
    def fixed(self) -> list[str]:
        """The text before, between and behind the gaps: one more than there are gaps."""
        texts = [""]
        for segment in self.segments:
            if isinstance(segment, Masked):
                texts.append("")
            else:
                texts[-1] += segment.text
        return texts

    @property
    def tokens_left(self) -> int:
        """How many more tokens the gap at hand may take."""
        return self.gaps[len(self.fills) - 1].max_tokens - len(self.fills[-1])

    @property
    def confidence(self) -> float:
        """exp(mean log p), 0..1; nothing scored is no confidence."""
        return min(1.0, math.exp(self.log_prob / self.scored)) if self.scored else 0.0

    def before(self, text: Callable[[Sequence[int]], str]) -> str:
        """The text before the gap at hand, with the earlier gaps filled."""
        fills = [text(ids) for ids in self.fills[:-1]]
        return "".join(fixed + fill for fixed, fill in zip(self.fixed, [*fills, ""], strict=False))

    def behind(self, gaps: int = 1) -> str:
        """The text behind the next ``gaps`` gaps, the one at hand included, with later ones left out."""
        return "".join(self.fixed[len(self.fills) + gaps - 1 :])

    def at_next_gap(self) -> Filled:
        """The same at the next gap, of which nothing is filled."""
        return replace(self, fills=(*self.fills, ()), ended=False)

    @property
    def is_whole(self) -> bool:
        """Whether no gap is left."""
        return self.ended and len(self.fills) == len(self.gaps)

    def reading(self, text: Callable[[Sequence[int]], str]) -> Reading:
        """This as the answer to the request."""
        fills = [text(ids) for ids in self.fills]
        closed = self.ended and not self.cut
        return Reading(
            fills=(*fills, *[""] * (len(self.gaps) - len(fills))),
            confidence=self.confidence,
            finish_reason=FinishReason.GAP_END if closed else FinishReason.LENGTH,
        )
