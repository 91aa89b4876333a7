"""Which text from elsewhere helps most at a gap: several rankings, fused; nothing said twice. Pure but for an index.

Each source ranks what it has; reciprocal rank fusion (Cormack et al., SIGIR 2009) needs no common scale for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

from lsp_server.context.file_index import FileIndex, FileIndexes, identifiers
from lsp_server.context.relatives import import_lines
from lsp_server.context.snippets import Snippet, name_of
from lsp_server.context.surroundings import Surroundings
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap

_BEFORE, _AFTER = 1500, 300
"""Characters around the gap whose names are looked at."""

_NAMES = 40
_LIKENESS_FILES = 6
_LIKENESS_WEIGHT = 0.5
"""Beside the other rankings, each of which knows that what it has is meant here."""

_MIN_LIKENESS = 0.05
_KEYWORDS = frozenset({"import", "from", "export", "require", "include", "use", "using", "const", "pub", "mod"})
_EDITS, _EDIT_LINES = 6, 10
_DIAGNOSTICS, _DIAGNOSTIC_CHARACTERS = 3, 200
_MOST = 10
_RANK_OFFSET = 60
"""Of reciprocal rank fusion, as published."""


@dataclass(frozen=True)
class Place:
    """A gap in its document, of which the model reads ``start`` .. ``end`` anyway."""

    document: DocumentSnapshot
    gap: Gap
    start: int
    end: int

    @property
    def seen(self) -> str:
        """What the model reads anyway."""
        return self.document.text[self.start : self.end]


def choose(place: Place, surroundings: Surroundings, indexes: FileIndexes) -> list[Snippet]:
    """The best text from elsewhere, best first: none of it twice, and none that the model reads anyway."""
    document, gap = place.document, place.gap
    before = document.text[max(place.start, gap.start - _BEFORE) : gap.start]
    after = document.text[gap.end : gap.end + _AFTER]
    near = list(dict.fromkeys([*reversed(identifiers(before)), *identifiers(after)]))
    files = (one for one in (*surroundings.others, *surroundings.nearby) if one.uri != document.uri)
    indexed = list(indexes.of(files))
    rankings: list[tuple[float, Iterable[Snippet]]] = [
        (1.0, _imports(place, frozenset(near) - _KEYWORDS)),
        (1.0, _declarations(near[:_NAMES], indexed)),
        (1.0, _edits(place, surroundings)),
        (_LIKENESS_WEIGHT, _alike(frozenset(identifiers(before)), indexed[:_LIKENESS_FILES])),
    ]
    scores: dict[Snippet, float] = {}
    for weight, ranking in rankings:
        for rank, snippet in enumerate(islice(ranking, _MOST)):
            scores[snippet] = scores.get(snippet, 0.0) + weight / (_RANK_OFFSET + rank)
    found = sorted(scores, key=lambda snippet: scores[snippet], reverse=True)
    return [*_diagnostics(surroundings), *_once(found, place.seen)]


def _imports(place: Place, names: frozenset[str]) -> Iterator[Snippet]:
    """What the document imports, above what the model reads."""
    lines = [line for line in import_lines(place.document.text[: place.start]) if names & set(identifiers(line))]
    if lines:
        yield Snippet("From the top of this file:", "\n".join(lines))


def _declarations(names: Sequence[str], indexed: list[tuple[DocumentSnapshot, FileIndex]]) -> Iterator[Snippet]:
    """What the names around the gap mean, the name nearest to it first."""
    for name in names:
        for snapshot, index in indexed:
            if text := index.declarations.get(name):
                yield Snippet(_from(snapshot), text)
                break


def _alike(here: frozenset[str], indexed: list[tuple[DocumentSnapshot, FileIndex]]) -> Iterator[Snippet]:
    """Pieces of other files by the Jaccard index of their identifiers and the gap's."""
    found = []
    for snapshot, index in indexed:
        for piece in index.pieces:
            shared = len(here & piece.identifiers)
            likeness = shared / max(1, len(here) + len(piece.identifiers) - shared)
            if likeness >= _MIN_LIKENESS:
                found.append((likeness, snapshot, piece))
    best = nlargest(_MOST, found, key=lambda one: one[0])
    return (Snippet(_from(snapshot), piece.text) for _, snapshot, piece in best)


def _edits(place: Place, surroundings: Surroundings) -> Iterator[Snippet]:
    """What was changed last elsewhere."""
    for edit in surroundings.edits[:_EDITS]:
        here = edit.uri == place.document.uri and place.start <= edit.start <= place.end
        lines = edit.after.replace("\r\n", "\n").split("\n")[:_EDIT_LINES]
        if not here and edit.inserted.strip():
            yield Snippet(f"Just changed in {name_of(edit.uri)}:", "\n".join(lines).strip("\n"))


def _diagnostics(surroundings: Surroundings) -> Iterator[Snippet]:
    for message in surroundings.diagnostics[:_DIAGNOSTICS]:
        yield Snippet("To be mended below:", " ".join(message.split())[:_DIAGNOSTIC_CHARACTERS])


def _from(snapshot: DocumentSnapshot) -> str:
    return f"From {name_of(snapshot.uri)}:"


def _once(snippets: Iterable[Snippet], seen: str) -> Iterator[Snippet]:
    """Those that mostly say something that nothing before them said."""
    said = _lines(seen)
    kept = 0
    for snippet in snippets:
        lines = _lines(snippet.text)
        if kept < _MOST and 2 * len(lines & said) < len(lines):
            said |= lines
            kept += 1
            yield snippet


def _lines(text: str) -> set[str]:
    return {line for line in map(str.strip, text.splitlines()) if len(line) > 2}
