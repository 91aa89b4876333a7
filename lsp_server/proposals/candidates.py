"""Texts that may stand in the gap, each with all that speaks for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lsp_server.proposals.lookup import Occurrence, Source, lines_below, occurrences
from lsp_server.proposals.place import LONGEST_LINE, Place
from lsp_server.proposals.templates import Variation, variations

_MOST_LINES = 6
_MOST = 12
"""Candidates that are weighed."""

_SUBSTANCE = re.compile(r"[^\W_]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffd\ud800-\udfff]")

_FOLLOWED = 24
"""Places, those that agree the furthest, at which the lines behind are compared too."""


@dataclass
class Candidate:
    """``text`` fits the gap. ``places`` read so word for word, the furthest first, ``variants`` if words change.

    ``follow`` counts the lines behind it that agree with those behind the gap, in the best of its places.
    """

    text: str
    lines: int = 1
    places: list[Occurrence] = field(default_factory=list)
    variants: list[Variation] = field(default_factory=list)
    follow: int = 0

    @property
    def reach(self) -> int:
        """Characters before the gap that are the same in the best of its places."""
        return self.places[0].characters if self.places else 0


@dataclass(frozen=True)
class Candidates:
    """The candidates of one gap, and all ``places`` that agree with the text before it, the furthest agreeing first.

    ``changed`` texts stand in lines near by, but what they repeat of their own line is another word in the gap's.
    """

    items: list[Candidate]
    places: list[Occurrence]
    changed: frozenset[str] = frozenset()


def candidates(place: Place, sources: Sequence[Source]) -> Candidates:
    """What stands in places that read as the text before the gap does, or would after a change of words."""
    places = sorted(occurrences(place, sources), key=lambda one: -one.characters)
    found: dict[str, Candidate] = {}
    for number, one in enumerate(places):
        for text, lines, line_end in _texts(place, one):
            if (known := found.get(text)) is None:
                known = found[text] = Candidate(text, lines)
            known.places.append(one)
            if number < _FOLLOWED and known.follow < len(place.below):
                known.follow = max(known.follow, _following(place, one.source, line_end))
    changed: set[str] = set()
    for variant in variations(place):
        if variant.used:
            changed.update(place.fitted(variant.original))
        for text in place.fitted(variant.rest):
            if _says_something(text):
                found.setdefault(text, Candidate(text)).variants.append(variant)
    return Candidates(sorted(found.values(), key=_rank, reverse=True)[:_MOST], places, frozenset(changed))


def _following(place: Place, source: Source, line_end: int) -> int:
    agree = 0
    for there, here in zip(lines_below(source.text, line_end, source.end), place.below, strict=False):
        if there != here:
            break
        agree += 1
    return agree


def _rank(one: Candidate) -> float:
    changed = max((v.literal + 20 * v.lines for v in one.variants), default=0)
    return max(one.reach, changed) + 10 * one.follow + 4 * min(len(one.places) + len(one.variants), 8) - 2 * one.lines


def _says_something(text: str) -> bool:
    """Punctuation alone is never shown, nor is text with control characters in it."""
    return bool(_SUBSTANCE.search(text)) and not _CONTROL.search(text)


def _texts(place: Place, one: Occurrence) -> Iterator[tuple[str, int, int]]:
    """Proposals of one line, two lines and so on, with the number of lines and where they end in the source."""
    first, gap = one.rest, place.gap
    for text in place.fitted(first):
        if _says_something(text):
            yield text, 1, one.line_end
    if not gap.may_span_lines or place.after or not (first or place.before):
        return
    text, at, base = one.source.text, one.line_end, None
    written, count = first, 1 if first else 0
    if place.is_blank:
        start = text.rfind("\n", max(0, one.end - LONGEST_LINE), one.end) + 1
        base = text[start : one.end]
    while count < _MOST_LINES and 0 <= at < one.source.end:
        stop = text.find("\n", at + 1, min(one.source.end, at + 1 + LONGEST_LINE))
        if stop < 0:
            return
        line = text[at + 1 : stop].rstrip()
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        if base is None:
            base = indent
        if not bare or not indent.startswith(base) or bare == (place.below[0] if place.below else ""):
            return
        written += "\n" + gap.indent + line[len(base) :]
        count += 1
        at = stop
        if _says_something(written):
            yield written, count, at
