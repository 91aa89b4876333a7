"""What one window's server knows. Only the event loop's thread touches it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import islice

from lsp_server.context.contexts import Contexts
from lsp_server.context.nearby import Nearby
from lsp_server.context.surroundings import Surroundings
from lsp_server.documents import Documents
from lsp_server.exclusions.exclusions import MAX_CHARACTERS, Exclusions
from lsp_server.notebooks import Notebooks, text_of
from lsp_server.options import Options
from lsp_server.positions import Encoding, utf8
from lsp_server.settings import Settings
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.syntax.trees import SyntaxTrees
from lsp_server.trace import Trace
from lsp_server.typing.flights import Flights
from lsp_server.uris import path_of
from lsp_server.worker_client import WorkerClient

_OTHERS = 20
"""Other open documents that are looked at, the most recent first."""

_EDITORS_WITH_LF = {"neovim", "vim", "emacs", "eglot", "lsp-mode"}


_path_of = lru_cache(2000)(path_of)


class Session:
    """``client_factory`` is called when the worker is first needed: its imports must not delay ``initialize``."""

    def __init__(self, client_factory: Callable[[], WorkerClient], trace: Trace | None = None) -> None:
        self._client_factory = client_factory
        self.trace = trace or Trace()
        self.documents = Documents()
        self.notebooks = Notebooks(self.documents)
        self.trees = SyntaxTrees()
        self.contexts = Contexts()
        self.options = Options()
        self.settings = Settings()
        self.flights = Flights()
        self.exclusions = Exclusions()
        self.nearby = Nearby(then=self.contexts.indexes.warm)
        self.diagnosed: tuple[DocumentSnapshot, tuple[str, ...]] | None = None
        """What the editor said last that is wrong at the cursor, and in which text: nobody else tells us."""
        self.encoding = Encoding.UTF16
        self.editor = ""

    @cached_property
    def client(self) -> WorkerClient:
        """The worker, as far as this window is concerned."""
        return self._client_factory()

    @property
    def has_client(self) -> bool:
        """Whether the worker was needed yet."""
        return "client" in self.__dict__

    @property
    def wants_lf(self) -> bool:
        """Whether the editor's buffers hold LF, whatever line ends the file has."""
        return self.editor.lower() in _EDITORS_WITH_LF

    def surroundings(self, uri: str) -> Surroundings:
        """What may be read beside the document ``uri``."""
        snapshot, exclusions, options = self.documents.get(uri), self.exclusions, self.options
        edits = self.documents.history.recent()
        above = self._above(uri)
        before = self._text_of(above)
        if snapshot is None or not exclusions.trusted:
            return Surroundings(edits=tuple(edit for edit in edits if edit.uri == uri), before=before)
        taken = {one.uri for one in above}
        open_ones = (one for one in self.documents.others(uri) if one.uri not in taken)
        others = tuple(one for one in islice(open_ones, _OTHERS) if not exclusions.why(one, options))
        opened = {_path_of(one.uri) for one in (snapshot, *self.documents.others(uri))}
        nearby = tuple(
            one for one in self.nearby.files(snapshot, exclusions, options, others) if _path_of(one.uri) not in opened
        )
        return Surroundings(
            others,
            nearby,
            tuple(edit for edit in edits if not exclusions.why_uri(edit.uri, options)),
            self.diagnosed[1] if self.diagnosed and self.diagnosed[0] is snapshot else (),
            before,
        )

    def above(self, uri: str) -> bytes:
        """A name for what is read above the document ``uri``, earlier cells of its notebook; empty if nothing is."""
        text = self._text_of(self._above(uri))
        return hashlib.blake2b(utf8(text), digest_size=12).digest() if text else b""

    def _above(self, uri: str) -> list[DocumentSnapshot]:
        return [one for one in self.notebooks.earlier(uri) if not self.exclusions.why(one, self.options)]

    def _text_of(self, cells: Sequence[DocumentSnapshot]) -> str:
        return text_of(cells, self.options.prefix_characters * 2 // 3)

    def saved(self) -> None:
        """Something was saved: what was known of files on disk may be so no longer."""
        self.contexts.saved()
        self.exclusions.saved()
        self.nearby.saved()

    def open_document(self, snapshot: DocumentSnapshot) -> None:
        """Take in a document; nothing is left of what was open under the same URI."""
        self.close_document(snapshot.uri)
        self.documents.open(snapshot)
        self.exclusions.prepare(snapshot.uri)

    def change_document(self, uri: str, changes: Sequence[Change], version: int) -> None:
        """Apply changes, each to the text that the one before it left.

        A document too large to be read is not followed, which would cost some milliseconds a megabyte and key: it stays
        as it is, and excluded, until it is opened again or comes as a whole.
        """
        snapshot = self.documents.get(uri)
        if snapshot and len(snapshot.text) > MAX_CHARACTERS:
            whole = max((number for number, change in enumerate(changes) if change.span is None), default=None)
            if whole is None:
                return
            changes = changes[whole:]
        self.documents.change(uri, changes, version, self.encoding)
        self.flights.rhythm.key()

    async def close(self) -> None:
        """Stop reading, and part from the worker."""
        self.nearby.close()
        if self.has_client:
            await self.client.close()

    def close_notebook(self, uri: str) -> None:
        """Forget a notebook and its cells."""
        for cell in self.notebooks.close(uri):
            self.close_document(cell)

    def close_document(self, uri: str) -> None:
        """Forget a document and stop what was going on for it."""
        if self.diagnosed and self.diagnosed[0].uri == uri:
            self.diagnosed = None
        self.flights.forget(uri)
        self.documents.close(uri)
        self.trees.forget(uri)
        self.contexts.forget(uri)
        self.nearby.forget(uri)
