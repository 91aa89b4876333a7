"""``lacuna.fillGap``: fill the gap at a position as an edit, for editors without inline completion."""

from __future__ import annotations

import asyncio
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_server.features.status import Status
from lsp_server.session import Session
from lsp_server.suggestions.edits import edit_of
from lsp_server.suggestions.suggest import suggest
from lsp_server.worker_client import WorkerError, WorkerUnavailable

COMMAND = "lacuna.fillGap"
_APPLY_LIMIT_S = 10.0


def register(server: LanguageServer, session: Session, status: Status) -> None:
    """Offer the command. Its one argument is ``{"uri": ..., "position": {"line": ..., "character": ...}}``."""

    @server.command(COMMAND)
    async def fill_gap(*arguments: Any) -> dict[str, Any]:
        uri, line, character = _place(arguments)
        snapshot = session.documents.get(uri)
        if snapshot is None:
            return _not_applied("The document is not open.")
        offset = snapshot.lines.offset(line, character, session.encoding)
        try:
            found = await suggest(
                snapshot,
                offset,
                client=session.client,
                options=session.options,
                invoked=True,
                trees=session.trees,
                contexts=session.contexts,
                others=session.documents.others(uri),
            )
        except WorkerUnavailable as unavailable:
            status.health_changed(unavailable.health)
            return _not_applied(str(unavailable))
        except WorkerError as error:
            return _not_applied(str(error))
        if not found.items:
            return _not_applied(f"Nothing to suggest: {found.silence}.")
        edit = edit_of(snapshot, found.items[0], session.encoding)
        if edit is None or not session.documents.is_latest(snapshot):
            return _not_applied("The document has changed meanwhile.")
        change = types.TextDocumentEdit(
            text_document=types.OptionalVersionedTextDocumentIdentifier(uri=uri, version=snapshot.version),
            edits=[
                types.TextEdit(
                    range=types.Range(start=types.Position(*edit.start), end=types.Position(*edit.end)),
                    new_text=edit.text,
                )
            ],
        )
        params = types.ApplyWorkspaceEditParams(
            edit=types.WorkspaceEdit(document_changes=[change]), label="Lacuna: fill the gap"
        )
        result = await asyncio.wait_for(server.workspace_apply_edit_async(params), _APPLY_LIMIT_S)
        return {"applied": bool(result.applied), "reason": result.failure_reason or ""}


def _place(arguments: tuple[Any, ...]) -> tuple[str, int, int]:
    match arguments:
        case [{"uri": str(uri), "position": {"line": int(line), "character": int(character)}}]:
            return uri, line, character
    raise ValueError(f"{COMMAND} takes one argument: an object with 'uri' and 'position'")


def _not_applied(reason: str) -> dict[str, Any]:
    return {"applied": False, "reason": reason}
