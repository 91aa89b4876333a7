"""Which files a document has to do with, by their paths: those it imports, and its test or what it tests. Pure."""

from __future__ import annotations

import re
from pathlib import PurePath

_LOOKED_AT = 10_000
_IMPORT = re.compile(
    r"""^[ \t]*(?:
        (?:\#[ \t]*include|@?import|from|export|use|mod|pub\s+(?:use|mod)|require(?:_relative|_once)?|include(?:_once)?
        |using|source)\b
        | (?:const|let|var|local)\b [^\n=]* = [ \t]* (?:await[ \t]+)? (?:require|import)\b
        | \}[ \t]*from\b             # the end of a JavaScript import of several lines
        | (?:[\w.]+[ \t]+)?"[\w./~-]+"[ \t]*$   # a line of Go's import block
    )[^\n]*""",
    re.MULTILINE | re.VERBOSE,
)
_WORD = re.compile(r"[^\W\d][\w-]*")
_TEST_MARKS = re.compile(r"^(?:test|spec)[_.-]|[_.-](?:tests?|spec)$|(?<=[a-z0-9])Tests?$", re.IGNORECASE)
_STANDS_FOR_FOLDER = {"__init__", "__main__", "index", "mod", "lib", "main"}

_IMPORTED, _PAIR = 4, 6
"""Worth so many folders of distance."""


def import_lines(text: str) -> list[str]:
    """The lines at the beginning of a file that import something, in whatever language, near enough."""
    return [match[0] for match in _IMPORT.finditer(text, 0, _LOOKED_AT)]


class Relatives:
    """What the ``text`` at ``path`` names in its imports; only its beginning is read."""

    def __init__(self, text: str, path: PurePath) -> None:
        self._named = {word.lower() for line in import_lines(text) for word in _WORD.findall(line)}
        self._subject = _subject(path)

    def nearness(self, path: PurePath) -> int:
        """In folders, how much nearer than its place tells a file is; 0 for one that has nothing to do with it."""
        parts = [part.lower() for part in (*path.parent.parts[-3:], path.name.partition(".")[0])]
        if parts[-1] in _STANDS_FOR_FOLDER:
            parts.pop()
        named = 0
        for part in reversed(parts):
            if part not in self._named:
                break
            named += 1
        return _IMPORTED * min(named, 1) + max(0, named - 1) + _PAIR * (_subject(path) == self._subject)


def _subject(path: PurePath) -> str:
    """The file's name without what makes it a test: ``test_cart.py`` and ``cart.spec.ts`` are both of ``cart``."""
    stem = path.name.rpartition(".")[0]
    return _TEST_MARKS.sub("", stem).lower()
