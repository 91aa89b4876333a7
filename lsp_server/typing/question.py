"""What is asked at one moment: the one thing that cache, flights and speculation agree on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.suggest import Suggestion

INVOKED_CANDIDATES = 3
"""Who asks wants to choose."""


@dataclass(frozen=True)
class Question:
    """What fits at ``offset`` (a str offset)? ``model`` is who would be asked; ``invoked``: the user asked.

    ``above`` names what the model reads above the document, as in a notebook's cell.
    """

    snapshot: DocumentSnapshot
    offset: int
    options: Options
    invoked: bool = False
    model: str = ""
    above: bytes = b""

    @property
    def scope(self) -> tuple[object, ...]:
        """What must be the same for an answer to one question to serve another."""
        return self.snapshot.uri, self.snapshot.language_id, self.model, self.options, self.above

    @property
    def candidates(self) -> int:
        """How many suggestions are wanted."""
        return max(INVOKED_CANDIDATES, self.options.candidates) if self.invoked else self.options.candidates

    @property
    def in_word(self) -> bool:
        """Whether a word is being typed."""
        left = self.snapshot.text[max(0, self.offset - 1) : self.offset]
        return left.isalnum() or left == "_"

    def with_edit(self, start: int, end: int, text: str) -> Question:
        """The question behind ``text`` if it stood between two offsets, in a document that the editor has not (yet)."""
        lines = self.snapshot.lines.spliced(start, end, text)
        snapshot = replace(self.snapshot, text=lines.text)
        snapshot.__dict__["lines"] = lines  # where cached_property keeps it: the index is made already
        return replace(self, snapshot=snapshot, offset=start + len(text))

    def accepted(self, suggestion: Suggestion) -> Question:
        """The question that follows when the user takes ``suggestion``: nobody has asked it, so it is not invoked."""
        after = self.with_edit(suggestion.start_offset, suggestion.end_offset, suggestion.text)
        return replace(after, invoked=False)
