"""``textDocument/inlineCompletion``: ghost text. Every request gets exactly one answer, and none is stale."""

from __future__ import annotations

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_server.features.status import Status
from lsp_server.features.suggester import Suggester
from lsp_server.session import Session
from lsp_server.suggestions.edits import edit_of


def register(server: LanguageServer, session: Session, status: Status) -> Suggester:
    """Answer inline completion requests; returns what other kinds of completion take their suggestions from."""
    suggester = Suggester(server, session, status)

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> list[types.InlineCompletionItem]:
        suggester.asked_inline = True
        shown = await suggester.answer(
            params.text_document.uri,
            params.position,
            invoked=params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked,
            selected=params.context.selected_completion_info,
        )
        if shown is None:
            return []
        edits = (edit_of(shown.snapshot, item, session.encoding, with_lf=session.wants_lf) for item in shown.items)
        return [
            types.InlineCompletionItem(
                insert_text=edit.text,
                range=types.Range(start=types.Position(*edit.start), end=types.Position(*edit.end)),
            )
            for edit in edits
            if edit
        ]

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(_: types.DidSaveTextDocumentParams) -> None:
        session.saved()

    return suggester
