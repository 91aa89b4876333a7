"""Suggestions as the edits an editor applies: explicit ranges in its own units, always."""

from __future__ import annotations

from dataclasses import dataclass

from lsp_server.positions import Encoding
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.suggest import Suggestion


@dataclass(frozen=True)
class Edit:
    """Put ``text`` between two positions ``(line, character)`` of one line."""

    text: str
    start: tuple[int, int]
    end: tuple[int, int]


def edit_of(
    snapshot: DocumentSnapshot, suggestion: Suggestion, encoding: Encoding, *, with_lf: bool = False
) -> Edit | None:
    """The edit for a suggestion; None if it would span lines, which inline completion does not allow.

    ``with_lf`` is for editors whose buffers hold LF whatever the file has: in them a CR would show as ``^M``.
    """
    start = snapshot.lines.position(suggestion.start_offset, encoding)
    end = snapshot.lines.position(suggestion.end_offset, encoding)
    text = suggestion.text.replace(snapshot.line_ending, "\n") if with_lf else suggestion.text
    return Edit(text, start, end) if start[0] == end[0] else None
