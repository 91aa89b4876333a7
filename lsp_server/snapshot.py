"""One version of one document, frozen: what every computation reads, whatever the user types meanwhile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from lsp_server.positions import Encoding, LineIndex

_STYLE_SAMPLE = 10_000
"""Characters looked at to learn a document's indentation."""

_INDENT = re.compile(r"^(\t+|  +)(?=\S)", re.MULTILINE)
_LINE_START = re.compile(r"^ *\S", re.MULTILINE)
_UNITS = (2, 3, 4, 8)
_TWO = ("javascript", "typescript", "tsx", "json", "jsonc", "ruby", "lua", "html", "css", "yaml", "shellscript", "toml")
_USUAL = {"go": "\t"} | dict.fromkeys(_TWO, "  ")
"""One level as languages are mostly written, where it is not four spaces; by LSP language id."""


@dataclass(frozen=True)
class Change:
    """Replace what stands between two positions ``(line, character)`` with ``text``; ``span`` None means everything."""

    text: str
    span: tuple[tuple[int, int], tuple[int, int]] | None = None


@dataclass(frozen=True)
class DocumentSnapshot:
    """``text`` is exactly the editor's, line ends included."""

    uri: str
    version: int
    language_id: str
    text: str

    @cached_property
    def lines(self) -> LineIndex:
        """Where the lines begin."""
        return LineIndex(self.text)

    @cached_property
    def line_ending(self) -> str:
        """The line end that the document uses: that of its first line, LF if it has only one."""
        match = re.search(r"\r\n|\n|\r", self.text)
        return match[0] if match else "\n"

    @cached_property
    def indent_unit(self) -> str:
        """One level of indentation as this document has it, or as its language is mostly written if it shows none."""
        found = _INDENT.findall(self.text, 0, _STYLE_SAMPLE)
        if sum(indent.startswith("\t") for indent in found) * 2 > len(found):
            return "\t"
        widths = [len(start) - 1 for start in _LINE_START.findall(self.text, 0, _STYLE_SAMPLE)]
        # Continuation lines align anywhere: the commonest rise from one line to the next is the unit.
        rises = Counter(below - above for above, below in pairwise(widths) if below - above in _UNITS)
        if rises:
            return " " * max(_UNITS, key=lambda unit: (rises[unit], -unit))
        return _USUAL.get(self.language_id.removesuffix("react"), "    ")

    def edited(self, changes: Sequence[Change], version: int, encoding: Encoding) -> DocumentSnapshot:
        """The document after ``changes``, each of which refers to the text that the one before it left."""
        lines = self.lines
        for change in changes:
            if change.span is None:
                lines = LineIndex(change.text)
            else:
                start, end = (lines.offset(*position, encoding) for position in change.span)
                lines = lines.spliced(start, max(start, end), change.text)
        edited = replace(self, text=lines.text, version=version)
        edited.__dict__["lines"] = lines  # where cached_property keeps it: the index is made already
        return edited
