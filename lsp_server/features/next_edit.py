"""``lacuna/nextEdit`` and ``textDocument/copilotInlineEdit``: where the change just made plainly applies as well.

The answer is ``{"edits": [...]}`` with one edit or none, as in ``next_edit.schema.json``. The client jumps there,
applies the edit if it is accepted, and asks again. No model is asked, so the answer is there at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pygls.lsp.server import LanguageServer

from lsp_server.next_edit.propose import next_edit
from lsp_server.session import Session

NEXT_EDIT = "lacuna/nextEdit"
COPILOT = "textDocument/copilotInlineEdit"
ACCEPTED = "lacuna.nextEditAccepted"
_TITLE = "Lacuna: the same change here"


def register(server: LanguageServer, session: Session) -> None:
    """Answer both methods, and the command that Copilot's clients run when an edit was accepted."""

    async def answer(params: Any) -> dict[str, Any]:
        return {"edits": await _edits(session, params)}

    server.feature(NEXT_EDIT)(answer)

    @server.feature(COPILOT)
    async def copilot_inline_edit(params: Any) -> dict[str, Any]:
        return await answer(params)

    @server.feature("textDocument/didShowInlineEdit")
    def shown(_: Any) -> None:
        """Copilot's clients tell this; nothing is counted here."""

    @server.command(ACCEPTED)
    def accepted(*_: Any) -> None:
        """The edit itself is the client's."""


async def _edits(session: Session, params: Any) -> list[dict[str, Any]]:
    document, position = getattr(params, "textDocument", None), getattr(params, "position", None)
    uri, version = getattr(document, "uri", None), getattr(document, "version", None)
    line, character = getattr(position, "line", None), getattr(position, "character", None)
    if not (isinstance(uri, str) and isinstance(line, int) and isinstance(character, int)):
        raise ValueError(f"{NEXT_EDIT} takes 'textDocument' and 'position'")
    snapshot = session.documents.get(uri)
    if snapshot is None or not session.options.next_edit or session.exclusions.why(snapshot, session.options):
        return []
    if version is not None and version != snapshot.version:
        return []  # asked about a text that is no longer there
    history = session.documents.history
    found = await asyncio.to_thread(  # a name that stands hundreds of times in a long file takes a while
        next_edit,
        snapshot,
        session.trees.whole(snapshot),
        history.recent(uri),
        snapshot.lines.offset(line, character, session.encoding),
        history.now(),
    )
    if found is None or session.documents.get(uri) is not snapshot:
        return []
    start, end = (snapshot.lines.position(offset, session.encoding) for offset in (found.start, found.end))
    return [
        {
            "text": found.text,
            "range": {
                "start": {"line": start[0], "character": start[1]},
                "end": {"line": end[0], "character": end[1]},
            },
            "textDocument": {"uri": uri, "version": snapshot.version},
            "command": {"title": _TITLE, "command": ACCEPTED, "arguments": []},
            "more": found.left,
        }
    ]
