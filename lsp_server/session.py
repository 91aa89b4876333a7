"""What one window's server knows. Only the event loop's thread touches it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any

from lsp_server.context.contexts import Contexts
from lsp_server.documents import Documents
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.syntax.trees import SyntaxTrees
from lsp_server.trace import Trace
from lsp_server.worker_client import WorkerClient

_EDITORS_WITH_LF = {"neovim", "vim", "emacs", "eglot", "lsp-mode"}


class Session:
    """``client_factory`` is called when the worker is first needed: its imports must not delay ``initialize``."""

    def __init__(self, client_factory: Callable[[], WorkerClient], trace: Trace | None = None) -> None:
        self._client_factory = client_factory
        self.trace = trace or Trace()
        self.documents = Documents()
        self.trees = SyntaxTrees()
        self.contexts = Contexts()
        self.options = Options()
        self.encoding = Encoding.UTF16
        self.editor = ""
        self.running: dict[str, asyncio.Task[Any]] = {}
        """The request in flight of each document: the newest, all others are cancelled."""

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

    def close_document(self, uri: str) -> None:
        """Forget a document and stop what was going on for it."""
        if task := self.running.pop(uri, None):
            task.cancel()
        self.documents.close(uri)
        self.trees.forget(uri)
        self.contexts.forget(uri)
