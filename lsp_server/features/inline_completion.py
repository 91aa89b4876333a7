"""``textDocument/inlineCompletion``: ghost text. Every request gets exactly one answer, and none is stale."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from inference.protocol import Draft, ErrorCode
from lsp_server.features.status import Status
from lsp_server.session import Session
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.edits import edit_of
from lsp_server.suggestions.exclusions import why_excluded
from lsp_server.suggestions.suggest import suggest
from lsp_server.worker_client import WorkerError, WorkerUnavailable

DRAFT = "lacuna/draft"
_EXPECTED = {ErrorCode.SUPERSEDED, ErrorCode.CANCELLED, ErrorCode.NOT_READY, ErrorCode.QUEUE_FULL}

logger = logging.getLogger(__name__)


def register(server: LanguageServer, session: Session, status: Status) -> None:
    """Answer inline completion requests."""
    completion = InlineCompletion(server, session, status)

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> list[types.InlineCompletionItem]:
        return await completion.answer(params)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(_: types.DidSaveTextDocumentParams) -> None:
        session.contexts.saved()


class InlineCompletion:
    """Answers requests, at most one at a time for each document: a newer one ends the older."""

    def __init__(self, server: LanguageServer, session: Session, status: Status) -> None:
        self._server = server
        self._session = session
        self._status = status

    async def answer(self, params: types.InlineCompletionParams) -> list[types.InlineCompletionItem]:
        """The items for one request; empty when it was overtaken by a newer one or by an edit."""
        running, uri = self._session.running, params.text_document.uri
        if older := running.get(uri):
            older.cancel()  # Neovim never cancels by itself
        task = asyncio.create_task(self._items(params))
        running[uri] = task
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():  # the editor cancelled: pygls answers RequestCancelled
                raise
            return []
        finally:
            if running.get(uri) is task:
                del running[uri]

    async def _items(self, params: types.InlineCompletionParams) -> list[types.InlineCompletionItem]:
        session, documents, began = self._session, self._session.documents, time.perf_counter()
        snapshot = documents.get(params.text_document.uri)
        if snapshot is None:
            return []
        reason = why_excluded(snapshot, session.options)
        self._status.silent(snapshot.uri, reason)
        if reason:
            return []
        invoked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
        if not invoked:
            await asyncio.sleep(session.options.debounce_ms / 1000)
        if not documents.is_latest(snapshot):
            return []
        offset = snapshot.lines.offset(params.position.line, params.position.character, session.encoding)
        try:
            found = await suggest(
                snapshot,
                offset,
                client=session.client,
                options=session.options,
                invoked=invoked,
                on_draft=self._draft_listener(snapshot) if session.options.drafts else None,
                trees=session.trees,
                contexts=session.contexts,
                others=documents.others(snapshot.uri),
            )
        except WorkerUnavailable as unavailable:
            self._status.health_changed(unavailable.health)
            return []
        except WorkerError as error:
            if error.code not in _EXPECTED:
                logger.warning("the worker refused: %s (%s)", error, error.code)
            return []
        except Exception:
            logger.exception("no suggestions for a %s document", snapshot.language_id)
            return []
        spent_ms = (time.perf_counter() - began) * 1000
        session.trace.answered(snapshot.version, spent_ms, found.result, len(found.items))
        if found.silence:
            logger.debug("silent: %s", found.silence)
        if not documents.is_latest(snapshot):
            return []  # typed on meanwhile: what was computed is for another text
        edits = [edit_of(snapshot, item, session.encoding, with_lf=session.wants_lf) for item in found.items]
        return [
            types.InlineCompletionItem(
                insert_text=edit.text,
                range=types.Range(start=types.Position(*edit.start), end=types.Position(*edit.end)),
            )
            for edit in edits
            if edit
        ]

    def _draft_listener(self, snapshot: DocumentSnapshot) -> Any:
        def send(draft: Draft) -> None:
            if self._session.documents.is_latest(snapshot):
                self._server.protocol.notify(
                    DRAFT,
                    {
                        "uri": snapshot.uri,
                        "version": snapshot.version,
                        "step": draft.step,
                        "maxSteps": draft.max_steps,
                        "fills": list(draft.fills),
                    },
                )

        return send
