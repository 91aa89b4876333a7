"""The open documents of one window, each by its latest snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsp_server.history import History
from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot


class Documents:
    """What the editor says is open. Only the event loop's thread may touch it."""

    def __init__(self) -> None:
        self._latest: dict[str, DocumentSnapshot] = {}
        self.history = History()

    def get(self, uri: str) -> DocumentSnapshot | None:
        """The latest snapshot of an open document."""
        return self._latest.get(uri)

    def is_latest(self, snapshot: DocumentSnapshot) -> bool:
        """Whether nothing has happened to the document since ``snapshot`` was taken."""
        return self._latest.get(snapshot.uri) is snapshot

    def open(self, snapshot: DocumentSnapshot) -> None:
        """Take in a document that the editor opened."""
        self._latest.pop(snapshot.uri, None)
        self._latest[snapshot.uri] = snapshot

    def change(self, uri: str, changes: Sequence[Change], version: int, encoding: Encoding) -> None:
        """Apply changes; those to a document that is not open are ignored."""
        if before := self._latest.pop(uri, None):
            edited = before.edited((), version, encoding)
            for change in changes:  # each by itself: several cursors make several edits
                edited = before.edited((change,), version, encoding)
                self.history.note(before, edited)
                before = edited
            self._latest[uri] = edited

    def others(self, uri: str) -> Iterator[DocumentSnapshot]:
        """All documents but one, the most recently opened or edited first."""
        return (snapshot for snapshot in reversed(self._latest.values()) if snapshot.uri != uri)

    def close(self, uri: str) -> None:
        """Forget a document."""
        self._latest.pop(uri, None)
