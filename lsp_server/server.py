"""The language server: what pygls needs to know, and nothing that could be done below."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from lsp_server.features import fill_gap, inline_completion, status
from lsp_server.options import read_options
from lsp_server.positions import Encoding
from lsp_server.session import Session
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.trace import Trace
from lsp_server.worker_client import WorkerClient

PARENT_CHECK_S = 2.0

logger = logging.getLogger(__name__)


class LacunaProtocol(LanguageServerProtocol):
    """pygls' protocol with our own documents: pygls cuts lines as Python does, which is not how the LSP does."""

    _server: LacunaServer

    def structure_message(self, data: Any) -> Any:
        """Read one message. A request that cannot be read is answered, as every request is."""
        if isinstance(data, dict) and data.get("method") == types.TEXT_DOCUMENT_INLINE_COMPLETION:
            _mend_trigger_kind(data)
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            if "method" in data and "id" in data:
                self._send_response(data["id"], error=error.to_response_error())
            raise

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        """Take in a document."""
        item = params.text_document
        self._server.session.documents.open(DocumentSnapshot(item.uri, item.version, item.language_id, item.text))

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Apply the changes of one version."""
        session, document = self._server.session, params.text_document
        changes = [_change(change) for change in params.content_changes]
        session.documents.change(document.uri, changes, document.version, session.encoding)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        """Forget a document."""
        self._server.session.close_document(params.text_document.uri)


class LacunaServer(LanguageServer):
    """One window's server; everything it knows is in ``session``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        super().__init__("lacuna", _version(), protocol_cls=LacunaProtocol)

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log what went wrong outside of a request; messages on the user's screen would help nobody."""
        logger.error("%s: %s", getattr(source, "__name__", source), type(error).__name__)


def create_server(client_factory: Callable[[], WorkerClient], trace: Trace | None = None) -> LacunaServer:
    """A server that has not started yet; ``client_factory`` is called after ``initialize``."""
    server = LacunaServer(Session(client_factory, trace))
    _register_initialize(server)
    reporter = status.register(server, server.session)
    inline_completion.register(server, server.session, reporter)
    fill_gap.register(server, server.session, reporter)
    return server


def _register_initialize(server: LacunaServer) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        session = server.session
        session.options, problems = read_options(params.initialization_options)
        encoding = ServerCapabilitiesBuilder.choose_position_encoding(params.capabilities)
        session.encoding = Encoding(getattr(encoding, "value", encoding))
        session.editor = params.client_info.name if params.client_info else ""
        for problem in problems:
            server.window_show_message(types.ShowMessageParams(types.MessageType.Warning, f"Lacuna: {problem}"))
        if params.process_id is not None and os.name == "posix" and _is_alive(params.process_id):
            _leave_with(params.process_id)


def _leave_with(process_id: int) -> None:
    """End this process when the editor is gone, even if somebody else still holds our stdin open."""
    if not _is_alive(process_id):
        logger.warning("the editor (pid %d) is gone", process_id)
        os._exit(1)  # a thread is blocked reading stdin: nothing gentler ends it
    asyncio.get_running_loop().call_later(PARENT_CHECK_S, _leave_with, process_id)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _mend_trigger_kind(data: dict[str, Any]) -> None:
    """vscode-languageclient 9 counts trigger kinds from 0, which the specification never did."""
    try:
        context = data["params"]["context"]
        if context["triggerKind"] == 0:
            context["triggerKind"] = types.InlineCompletionTriggerKind.Invoked.value
    except (KeyError, TypeError):
        return


def _change(change: types.TextDocumentContentChangeEvent) -> Change:
    if isinstance(change, types.TextDocumentContentChangePartial):
        start, end = change.range.start, change.range.end
        return Change(change.text, ((start.line, start.character), (end.line, end.character)))
    return Change(change.text)


def _version() -> str:
    try:
        return version("lacuna-lsp")
    except PackageNotFoundError:
        return "0"
