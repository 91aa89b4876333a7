"""What a file offers to others: pieces of some lines with their identifiers, and what it declares. Made once a file.

A file's definitions are found by their first line alone: parsing every file near the cursor would be felt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lsp_server.snapshot import DocumentSnapshot

CHARACTERS = 30_000
"""Looked at in each file."""

AT_ONCE = 10_000
"""Characters that one choice may read of files that are not known yet, so as not to be felt: under a millisecond."""

_LINES, _DECLARATION_LINES = 10, 8
_KEPT = 200
_IDENTIFIER = re.compile(r"[^\W\d]\w{2,}")
_DECLARATION = re.compile(
    r"""^([ \t]*)
    (?:(?:export|default|declare|pub(?:\([a-z]+\))?|public|private|protected|internal|static|final|abstract|async|unsafe
       |inline|override|sealed|partial|local|data)[ \t]+)*
    (?:def|class|function\*?|func(?:[ \t]*\([^)\n]*\))?|fn|struct|interface|enum|trait|type|record|module|const|let|var
       |val|\#define)[ \t]+
    ([^\W\d]\w*)
    | ^()([A-Z][A-Z0-9_]{2,})(?=[ \t]*(?::[^=\n]+)?=)""",
    re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True)
class Piece:
    """Whole lines of a file, without the blank ones around them."""

    text: str
    identifiers: frozenset[str]


@dataclass(frozen=True)
class FileIndex:
    """``declarations``: by name, the first lines of each."""

    pieces: tuple[Piece, ...]
    declarations: dict[str, str]

    @classmethod
    def of(cls, text: str) -> FileIndex:
        """Of the beginning of a file, in whatever language."""
        text = text[:CHARACTERS].replace("\r\n", "\n").replace("\r", "\n")
        return cls(tuple(_pieces(text)), dict(_declarations(text)))


class FileIndexes:
    """The indexes of the files that were looked at last. A thread may :meth:`warm` them while another one asks."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, FileIndex]] = {}
        """By URI, with the text that it is of."""

    def of(self, snapshots: Iterable[DocumentSnapshot]) -> Iterator[tuple[DocumentSnapshot, FileIndex]]:
        """Those that are known, that of an earlier text perhaps, and those of small files that are not."""
        left = AT_ONCE
        for snapshot in snapshots:
            known = self._known.get(snapshot.uri)
            cost = len(snapshot.text)
            if (known is None or known[0] is not snapshot.text) and cost <= left:
                left -= cost
                known = self._make(snapshot)
            if known:
                yield snapshot, known[1]

    def warm(self, snapshots: Iterable[DocumentSnapshot]) -> None:
        """Make what will be asked for."""
        for snapshot in snapshots:
            known = self._known.get(snapshot.uri)
            if known is None or known[0] is not snapshot.text:
                self._make(snapshot)

    def _make(self, snapshot: DocumentSnapshot) -> tuple[str, FileIndex]:
        if len(self._known) >= _KEPT:
            self._known = {}
        made = (snapshot.text, FileIndex.of(snapshot.text))
        self._known[snapshot.uri] = made
        return made


def identifiers(text: str) -> list[str]:
    """The words of a text that may be names, in order."""
    return _IDENTIFIER.findall(text)


def _pieces(text: str) -> Iterator[Piece]:
    lines = text.split("\n")
    for start in range(0, len(lines), _LINES):
        if piece := "\n".join(lines[start : start + _LINES]).strip("\n"):
            yield Piece(piece, frozenset(identifiers(piece)))


def _declarations(text: str) -> Iterator[tuple[str, str]]:
    for match in _DECLARATION.finditer(text):
        indent, name = match[1] if match[2] else "", match[2] or match[4]
        lines = text[match.start() : match.start() + 100 * _DECLARATION_LINES].split("\n", _DECLARATION_LINES)
        end = next((at for at, line in enumerate(lines[1:], 1) if _ends(line, indent)), _DECLARATION_LINES)
        declared = "\n".join(line.removeprefix(indent) for line in lines[: min(end, _DECLARATION_LINES)])
        yield name, declared.rstrip()


def _ends(line: str, indent: str) -> bool:
    """Whether a line is no part of what was declared with this indentation; what only closes it is."""
    stripped = line.strip()
    return bool(stripped) and stripped[0] not in ")]}" and not line.startswith((indent + " ", indent + "\t"))
