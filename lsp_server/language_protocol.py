"""pygls' protocol with our own documents and manners: every request is answered, whatever came before it."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import uuid
from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.protocol import LanguageServerProtocol, lsp_method

from inference.log_file import log_without_text
from lsp_server.snapshot import Change, DocumentSnapshot

if TYPE_CHECKING:
    from lsp_server.server import LacunaServer

_BEFORE_INITIALIZE = {types.INITIALIZE, types.EXIT}
_AFTER_SHUTDOWN = {types.EXIT}

logger = logging.getLogger(__name__)


class LacunaProtocol(LanguageServerProtocol):
    """pygls cuts lines as Python does, which is not how the LSP does: the texts are kept in the session."""

    _server: LacunaServer

    def receive(self, body: bytes) -> None:
        """Handle one message as it came, readable or not. Never raises."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            self._refuse(None, types.ErrorCodes.ParseError, "This is not JSON.")
            return
        if not _is_message(data):
            request_id = data.get("id") if isinstance(data, dict) else None
            self._refuse(request_id, types.ErrorCodes.InvalidRequest, "This is no JSON-RPC 2.0 message.")
            return
        if "method" in data and not self._is_its_time(data):
            return
        try:
            self.handle_message(self.structure_message(data))
        except JsonRpcException:
            logger.warning("a message could not be read")
            self._lose_track(data)
        except Exception as error:
            log_without_text(logger, "a message could not be handled", error)
            if "method" in data and "id" in data:
                self._refuse(data["id"], types.ErrorCodes.InternalError, "Lacuna could not handle this request.")

    def _lose_track(self, data: dict[str, Any]) -> None:
        """A change that cannot be read: forget the document, for its text is no longer known."""
        session = self._server.session
        with contextlib.suppress(KeyError, TypeError):
            if data["method"] == types.TEXT_DOCUMENT_DID_CHANGE:
                session.close_document(data["params"]["textDocument"]["uri"])
            elif data["method"] == types.NOTEBOOK_DOCUMENT_DID_CHANGE:
                session.close_notebook(data["params"]["notebookDocument"]["uri"])

    def _is_its_time(self, data: dict[str, Any]) -> bool:
        """Whether a request or notification may come now; a request that may not is refused."""
        method, started = data["method"], self._workspace is not None
        if not started and method not in _BEFORE_INITIALIZE:
            code, why = types.ErrorCodes.ServerNotInitialized, "The server waits for 'initialize'."
        elif started and method == types.INITIALIZE:
            code, why = types.ErrorCodes.InvalidRequest, "The server is initialized already."
        elif self._shutdown and method not in _AFTER_SHUTDOWN:
            code, why = types.ErrorCodes.InvalidRequest, "The server is shutting down."
        else:
            return True
        if "id" in data:
            self._refuse(data["id"], code, why)
        return False

    def _refuse(self, request_id: Any, code: types.ErrorCodes, why: str) -> None:
        logger.warning("%s", why)
        error = {"code": code.value, "message": why}
        self._send_data({"jsonrpc": self.VERSION, "id": request_id if _is_id(request_id) else None, "error": error})

    def structure_message(self, data: Any) -> Any:
        """Read one message. A request that cannot be read is answered, as every request is."""
        if "method" in data and self.get_message_type(data["method"]) is None:
            data.setdefault("params", None)
        if mend := _MENDERS.get(data.get("method")):
            with contextlib.suppress(KeyError, TypeError, AttributeError):  # what is worse is refused below
                mend(data["params"])
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            if "method" in data and "id" in data:
                self._send_response(data["id"], error=error.to_response_error())
            raise

    @lsp_method(types.EXIT)
    def lsp_exit(self, *_: Any) -> Generator[Any, Any, None]:
        """Leave; with 1 if nobody asked for a shutdown before."""
        self._server.end(0 if self._shutdown else 1)
        yield from ()  # a generator, as pygls' own is

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(  # type: ignore[override]  # pygls has a generator
        self, params: types.ExecuteCommandParams
    ) -> Any:
        """Run a command. A cancelled one ends: pygls would answer it and go on, and edit after all."""
        handler = self.fm.commands.get(params.command)
        if handler is None:
            raise JsonRpcInvalidParams(f"Command {params.command!r} is not known")
        result = handler(*(params.arguments or ()))
        return await result if inspect.isawaitable(result) else result

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        """Take in a document, anew if it was open."""
        self._server.session.open_document(snapshot_of(params.text_document))
        self._tell(types.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Apply the changes of one version."""
        document = params.text_document
        self._server.session.change_document(document.uri, changes_of(params.content_changes), document.version)
        self._tell(types.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        """Forget a document."""
        self._server.session.close_document(params.text_document.uri)
        self._tell(types.TEXT_DOCUMENT_DID_CLOSE, params)

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def lsp_notebook_document__did_open(self, params: types.DidOpenNotebookDocumentParams) -> None:
        """Leave notebooks to ``features/notebooks.py``."""
        self._tell(types.NOTEBOOK_DOCUMENT_DID_OPEN, params)

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def lsp_notebook_document__did_change(self, params: types.DidChangeNotebookDocumentParams) -> None:
        """Leave notebooks to ``features/notebooks.py``."""
        self._tell(types.NOTEBOOK_DOCUMENT_DID_CHANGE, params)

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def lsp_notebook_document__did_close(self, params: types.DidCloseNotebookDocumentParams) -> None:
        """Leave notebooks to ``features/notebooks.py``."""
        self._tell(types.NOTEBOOK_DOCUMENT_DID_CLOSE, params)

    def _tell(self, method: str, params: object) -> None:
        """Let the feature that registered for it know, after the documents are up to date."""
        if (handler := self.fm.features.get(method)) is not None:
            self._execute_handler(str(uuid.uuid4()), handler, self._check_handler_result, (params,))


def _is_message(data: Any) -> bool:
    """Whether this may be a request, a notification or an answer."""
    if not isinstance(data, dict) or data.get("jsonrpc") != LacunaProtocol.VERSION:
        return False
    return isinstance(data.get("method", ""), str) and ("id" not in data or _is_id(data["id"]) or "method" not in data)


def _is_id(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def snapshot_of(item: types.TextDocumentItem) -> DocumentSnapshot:
    """A document as the editor opens it."""
    return DocumentSnapshot(item.uri, item.version, item.language_id, item.text)


def changes_of(events: Any) -> list[Change]:
    """The changes of a document, in the order in which they apply."""
    return [_change(event) for event in events]


def _change(change: types.TextDocumentContentChangeEvent) -> Change:
    if isinstance(change, types.TextDocumentContentChangePartial):
        start, end = change.range.start, change.range.end
        return Change(change.text, ((start.line, start.character), (end.line, end.character)))
    return Change(change.text)


def _mend_trigger_kind(params: Any) -> None:
    """vscode-languageclient 9 counts trigger kinds from 0, which the specification never did."""
    if params["context"]["triggerKind"] == 0:
        params["context"]["triggerKind"] = types.InlineCompletionTriggerKind.Invoked.value


def _mend_version(params: Any) -> None:
    """Versions may be missing or null in what some clients send: a change that is not applied would be worse."""
    if params["textDocument"].get("version") is None:
        params["textDocument"]["version"] = 0


def _mend_root(params: Any) -> None:
    """A root that is no URI is none."""
    try:
        urlsplit(params["rootUri"])
    except ValueError:
        params["rootUri"] = None


_MENDERS = {
    types.INITIALIZE: _mend_root,
    types.TEXT_DOCUMENT_INLINE_COMPLETION: _mend_trigger_kind,
    types.TEXT_DOCUMENT_DID_OPEN: _mend_version,
    types.TEXT_DOCUMENT_DID_CHANGE: _mend_version,
}
