"""Where a fill is about to go: what every filter may look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.cursor import Cursor
from lsp_server.syntax.gaps import Gap, GapKind
from lsp_server.syntax.languages import language_of
from lsp_server.syntax.trees import SyntaxTree

_TEXT_KINDS = {GapKind.STRING, GapKind.COMMENT, GapKind.PARAGRAPH, GapKind.LIST_ITEM, GapKind.HEADING}
_NEAR = 2000
"""Characters behind the gap that a fill is compared with."""


@dataclass(frozen=True)
class Site:
    """A gap in a document, with the document's tree if it has one."""

    snapshot: DocumentSnapshot
    gap: Gap
    tree: SyntaxTree | None = None

    @cached_property
    def before(self) -> str:
        """The gap's line, left of the gap."""
        return Cursor(self.snapshot, self.gap.start).before

    @cached_property
    def after(self) -> str:
        """The gap's line, right of the gap."""
        return Cursor(self.snapshot, self.gap.end).after

    @cached_property
    def lines_below(self) -> list[str]:
        """The next lines that are not blank, stripped."""
        end = self.gap.end + len(self.after)
        below = self.snapshot.text[end : end + _NEAR].replace("\r", "\n").split("\n")
        return [line.strip() for line in below if line.strip()]

    @property
    def is_code(self) -> bool:
        """Whether brackets and quotes in the gap mean what they mean in code."""
        return self.gap.kind not in _TEXT_KINDS

    @property
    def is_on_blank_line(self) -> bool:
        """Whether the gap's line holds nothing else."""
        return not self.before.strip() and not self.after.strip()

    def code(self, text: str) -> Iterator[tuple[int, str]]:
        """The characters of a fill with their places, without those in strings and line comments."""
        language = language_of(self.snapshot.language_id, self.snapshot.uri)
        comment = language.line_comment if language else ""
        # In a bracket the grammar has seen to it that no string is open, `${` in a template included.
        quote = "" if self.gap.kind is GapKind.BRACKET else _open_quote(self.before)
        index = 0
        while index < len(text):
            char = text[index]
            if char == "\n" and quote != "`":
                quote = ""
            elif quote:
                index += char == "\\"
                quote = "" if char == quote else quote
            elif char in "\"'`":
                quote = char
            elif comment and text.startswith(comment, index):
                index = text.find("\n", index)
                if index < 0:
                    return
                continue
            else:
                yield index, char
            index += 1


def _open_quote(before: str) -> str:
    quote, escaped = "", False
    for char in before:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'`":
            quote = char
    return quote
