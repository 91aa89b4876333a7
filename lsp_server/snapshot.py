"""One version of one document, frozen: what every computation reads, whatever the user types meanwhile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lsp_server.positions import Encoding, LineIndex

_STYLE_SAMPLE = 10_000
"""Characters looked at to learn a document's indentation."""

_INDENT = re.compile(r"^(\t+|  +)(?=\S)", re.MULTILINE)


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
        if not found:
            return "  " if self.language_id.startswith(("javascript", "typescript", "tsx")) else "    "
        if sum(indent.startswith("\t") for indent in found) * 2 > len(found):
            return "\t"
        widths = [len(indent) for indent in found if not indent.startswith("\t")]
        # Continuation lines align anywhere; the commonest small step is the unit.
        return " " * max((2, 4, 8), key=lambda unit: (sum(width % unit == 0 for width in widths) * unit**0.5, -unit))

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
