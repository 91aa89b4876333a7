"""The open documents of one window, each by its latest snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot


class Documents:
    """What the editor says is open. Only the event loop's thread may touch it."""

    def __init__(self) -> None:
        self._latest: dict[str, DocumentSnapshot] = {}

    def get(self, uri: str) -> DocumentSnapshot | None:
        """The latest snapshot of an open document."""
        return self._latest.get(uri)

    def is_latest(self, snapshot: DocumentSnapshot) -> bool:
        """Whether nothing has happened to the document since ``snapshot`` was taken."""
        return self._latest.get(snapshot.uri) is snapshot

    def open(self, snapshot: DocumentSnapshot) -> None:
        """Take in a document that the editor opened."""
        self._latest[snapshot.uri] = snapshot

    def change(self, uri: str, changes: Sequence[Change], version: int, encoding: Encoding) -> None:
        """Apply changes; those to a document that is not open are ignored."""
        if snapshot := self._latest.get(uri):
            self._latest[uri] = snapshot.edited(changes, version, encoding)

    def close(self, uri: str) -> None:
        """Forget a document."""
        self._latest.pop(uri, None)
