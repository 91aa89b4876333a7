"""The order of the cells of each open notebook; their texts are documents like any other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lsp_server.documents import Documents
from lsp_server.snapshot import DocumentSnapshot


class Notebooks:
    """Cells by their URIs. Only the event loop's thread touches it."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._cells: dict[str, list[str]] = {}

    def open(self, uri: str, cells: Iterable[str]) -> None:
        """Take in a notebook, anew if it was open."""
        self._cells[uri] = list(cells)

    def splice(self, uri: str, start: int, delete_count: int, cells: Iterable[str]) -> None:
        """Put ``cells`` in the place of some; a notebook that is not open is left alone."""
        if (order := self._cells.get(uri)) is not None:
            order[start : start + delete_count] = cells

    def close(self, uri: str) -> Sequence[str]:
        """Forget a notebook; returns the cells that it had."""
        return self._cells.pop(uri, [])

    def earlier(self, uri: str) -> list[DocumentSnapshot]:
        """The cells above the cell ``uri`` that are in its language, from the top; none for any other document."""
        this = self._documents.get(uri)
        order = next((cells for cells in self._cells.values() if uri in cells), None)
        if this is None or order is None:
            return []
        above = (self._documents.get(one) for one in order[: order.index(uri)])
        return [cell for cell in above if cell and cell.language_id == this.language_id]


def text_of(cells: Sequence[DocumentSnapshot], characters: int) -> str:
    """The last of these cells as one text of at most so many characters: whole cells, an empty line between them.

    What it holds depends on nothing but these cells, so that a model may keep what it has read.
    """
    taken: list[str] = []
    for cell in reversed(cells):
        text = cell.text.replace("\r\n", "\n").strip("\n")
        characters -= len(text) + 2
        if characters < 0:
            break
        if text:
            taken.append(text + "\n\n")
    return "".join(reversed(taken))
