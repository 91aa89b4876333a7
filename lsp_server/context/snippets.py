"""Pieces of other open files that are like the lines around the cursor. Pure; text is data, whatever it spells."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lsp_server.snapshot import DocumentSnapshot

_FILES = 6
_CHARACTERS = 30_000
"""Looked at in each file: choosing must not be felt."""

_LINES, _FEWEST = 10, 3
"""Of a piece, and of what is left of it where little room is."""

_AROUND = 1500
"""Characters before the cursor that a piece is compared with."""

_MIN_LIKENESS = 0.05
_IDENTIFIER = re.compile(r"[^\W\d]\w{2,}")
_COMMENTS = {
    "#": ("python", "ruby", "shellscript", "toml", "yaml"),
    "--": ("lua", "sql"),
    "//": ("c", "cpp", "csharp", "go", "java", "javascript", "php", "rust", "tsx", "typescript"),
}
_MARKS = {language_id: mark for mark, languages in _COMMENTS.items() for language_id in languages}


@dataclass(frozen=True)
class Snippet:
    """Whole lines of another file; ``likeness`` 0..1 is the Jaccard index of its identifiers and the cursor's."""

    name: str
    text: str
    likeness: float


def choose(snapshot: DocumentSnapshot, offset: int, others: Iterable[DocumentSnapshot]) -> list[Snippet]:
    """Pieces of ``others``, the most recent of which come first, that are most like what stands before ``offset``.

    None of them twice, and none that the document holds itself.
    """
    here = _identifiers(snapshot.text[max(0, offset - _AROUND) : offset])
    found: dict[str, Snippet] = {}
    for other, _ in zip((one for one in others if one.uri != snapshot.uri), range(_FILES), strict=False):
        name = PurePosixPath(unquote(urlsplit(other.uri).path)).name
        for text in _pieces(other.text[:_CHARACTERS]):
            there = _identifiers(text)
            likeness = len(here & there) / max(1, len(here | there))
            if likeness >= _MIN_LIKENESS and text not in found and text not in snapshot.text:
                found[text] = Snippet(name, text, likeness)
    return sorted(found.values(), key=lambda one: one.likeness, reverse=True)


def render(snippets: Iterable[Snippet], language_id: str, budget: int) -> str:
    """The best that ``budget`` characters hold, as comments of the document's language; the best stands last.

    Empty for a language whose line comment is not known.
    """
    if not (mark := _MARKS.get(language_id)):
        return ""
    chosen: list[str] = []
    for snippet in snippets:
        lines = [f"{mark} {line}".rstrip() + "\n" for line in (f"From {snippet.name}:", *snippet.text.split("\n"))]
        lengths = list(accumulate(map(len, lines)))
        fitting = bisect_right(lengths, budget)
        if fitting < min(len(lines), 1 + _FEWEST):
            break
        budget -= lengths[fitting - 1]
        chosen.append("".join(lines[:fitting]))
    return "".join(reversed(chosen))


def _pieces(text: str) -> Iterator[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for start in range(0, len(lines), _LINES):
        if piece := "\n".join(lines[start : start + _LINES]).strip("\n"):
            yield piece


def _identifiers(text: str) -> set[str]:
    return set(_IDENTIFIER.findall(text))
