"""What speaks for a candidate and against it, in numbers: the input of ``evidence.py``."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import takewhile

from lsp_server.proposals.candidates import Candidate, Candidates
from lsp_server.proposals.place import Place
from lsp_server.syntax.gaps import EndRule, GapKind
from lsp_server.syntax.languages import language_of

_WORD = re.compile(r"\w{3,}")
_BEGUN = re.compile(r"\w+$")

_KINDS = {
    GapKind.LINE_TAIL: "line",
    GapKind.INLINE: "line",
    GapKind.BRACKET: "bracket",
    GapKind.STRING: "string",
    GapKind.COMMENT: "comment",
    GapKind.STATEMENT: "statement",
    GapKind.BLOCK: "block",
}
_LANGUAGES = {"python": "python", "javascript": "brace", "typescript": "brace", "tsx": "brace", "markdown": "markdown"}


class Weigher:
    """Features of the candidates of one gap; what they share is worked out once."""

    def __init__(self, place: Place, found: Candidates) -> None:
        self.place, self.found = place, found
        self._total = sum((1.0 + one.characters) ** 3 for one in found.places)
        self._variants = sum(len(one.variants) for one in found.items)
        language = language_of(place.snapshot.language_id, place.snapshot.uri)
        self._site = {
            f"kind {_KINDS.get(place.gap.kind, 'prose')}": 1.0,
            f"language {_LANGUAGES.get(language.name, 'other') if language else 'other'}": 1.0,
            f"left {_class(place.before[-1:])}": 1.0,
            "typed": math.log1p(len(place.before)),
            "right": float(bool(place.after)),
        }

    def features(self, one: Candidate) -> dict[str, float]:
        """The features of a candidate by name; what is absent is 0."""
        return {**self._site, **dict(self._of_text(one)), **dict(self._of_places(one)), **dict(self._of_variants(one))}

    def _of_text(self, one: Candidate) -> Iterator[tuple[str, float]]:
        place, text = self.place, one.text
        length = math.log1p(len(text))
        yield "length", length
        yield "length squared", length * length / 4
        yield f"lines {min(one.lines, 4)}", 1.0
        words = _WORD.findall(text)
        yield f"words {min(len(words), 4)}", 1.0
        if text[:1].isalnum() and (begun := _BEGUN.search(place.before)):
            yield "in word", 1.0
            yield "typed of word", min(len(begun[0]), 6) / 6
        line = place.before + text
        yield "should change", float(text in self.found.changed)
        yield "repeats above", float(line in place.above[:4])
        yield "repeats below", float(line in place.below[:2])
        yield f"follow {min(one.follow, 3)}", 1.0
        yield f"ends {_class(text[-1:])}", 1.0
        if place.gap.end_rule is EndRule.CLOSER and not place.after:
            yield "brings closer" if len(set(place.fitted(text))) > 1 else "leaves closer", 1.0

    def _of_places(self, one: Candidate) -> Iterator[tuple[str, float]]:
        if not one.places:
            yield "no place", 1.0
            return
        reach, mine, everywhere = one.reach, one.places, self.found.places
        long = math.log1p(reach)
        own = set(map(id, mine))
        rival = next((place.characters for place in everywhere if id(place) not in own), 0)
        share = sum((1.0 + place.characters) ** 3 for place in mine) / self._total
        top = sum(1 for _ in takewhile(lambda place: place.characters == reach, mine))
        at_least = bisect_right(everywhere, -reach, key=lambda place: -place.characters)
        yield "reach", long
        yield "reach squared", long * long / 4
        yield f"whole lines {min(4, max(place.lines for place in mine[:4]))}", 1.0
        yield "count", math.log(len(mine))
        yield "odds", max(-4.0, min(4.0, math.log((share + 0.01) / (1.01 - share))))
        yield "share", len(mine) / len(everywhere)
        yield "top share", top / at_least
        yield "margin", max(-2.0, min(2.0, long - math.log1p(rival)))
        yield "only", float(len(mine) == len(everywhere))
        away = [place.distance for place in mine if not place.source.rank]
        if away:
            yield "distance", math.log1p(min(away)) / 4
        else:
            yield "elsewhere", 1.0
            yield "rank", math.log(min(place.source.rank for place in mine))
        yield "files", math.log(len({id(place.source.text) for place in mine}))
        length = math.log1p(len(one.text))
        yield "reach by length", long * length / 4
        yield "reach by odds", long * share
        yield "reach by follow", long * min(one.follow, 2)
        yield "reach by lines", long * (one.lines - 1)

    def _of_variants(self, one: Candidate) -> Iterator[tuple[str, float]]:
        if not one.variants:
            return
        best = max(one.variants, key=lambda v: (v.lines, v.literal))
        yield "varied", 1.0
        yield "varied literal", math.log1p(max(v.literal for v in one.variants))
        yield f"varied lines {min(3, best.lines)}", 1.0
        yield "varied used", float(any(v.used for v in one.variants))
        yield "varied changes", float(min(4, min(v.changes for v in one.variants)))
        yield "varied count", math.log(len(one.variants))
        yield "varied share", len(one.variants) / self._variants
        yield "varied away", math.log(min(v.away for v in one.variants))
        if not one.places:
            yield "varied only length", math.log1p(len(one.text))
            yield "varied only share", len(one.variants) / self._variants


def _class(char: str) -> str:
    if not char:
        return "none"
    if char.isalnum() or char == "_":
        return "word"
    if char.isspace():
        return "space"
    return char if char in ".([{\"'`,:;=)]}-#*" else "other"
