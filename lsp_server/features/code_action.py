"""``textDocument/codeAction``: what can be filled or rewritten here. Listing asks no model; resolving does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from lsp_server.features.edit_arguments import MAX_INSTRUCTION, read_arguments
from lsp_server.features.edit_commands import FILL_ALL_HOLES, FILL_GAP, NEEDS, REWRITE, Jobs
from lsp_server.features.edits import Edits, Refused
from lsp_server.rewriting.docstrings import docstring_at
from lsp_server.session import Session
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.holes import hole_at, holes_of

FILL_KIND = "refactor.rewrite.lacuna.fill"
FILL_ALL_KIND = "refactor.rewrite.lacuna.fillAll"
REWRITE_KIND = "refactor.rewrite.lacuna.rewrite"
DOCSTRING_KIND = "refactor.rewrite.lacuna.docstring"
FIX_KIND = types.CodeActionKind.QuickFix.value
KINDS = (FILL_KIND, FILL_ALL_KIND, REWRITE_KIND, DOCSTRING_KIND, FIX_KIND)

MAX_COUNTED = 200_000
"""Characters up to which a document's holes are counted while the menu opens."""

_MAX_FIXES = 5
_REQUEST_FAILED = -32803


def register(server: LanguageServer, session: Session, edits: Edits) -> None:
    """List and resolve code actions."""
    actions = CodeActions(server, session, edits)
    options = types.CodeActionOptions(code_action_kinds=list(KINDS), resolve_provider=True)

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)
    async def code_action(params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
        return await actions.list(params)

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def resolve(action: types.CodeAction) -> types.CodeAction:
        return await actions.resolve(action)


class CodeActions:
    """The actions of one window."""

    def __init__(self, server: LanguageServer, session: Session, edits: Edits) -> None:
        self._server = server
        self._session = session
        self._edits = edits
        self._jobs = Jobs(session)
        self._counted: tuple[DocumentSnapshot, int] | None = None

    async def list(self, params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
        """What can be done at a range, of the kinds that the editor wants."""
        uri, only = params.text_document.uri, params.context.only
        snapshot = self._session.documents.get(uri)
        if snapshot is None or self._edits.refusal(uri):
            return []
        self._session.diagnosed = snapshot, tuple(one.message for one in params.context.diagnostics)
        found = list(self._at(snapshot, params))
        asked_for = params.context.trigger_kind != types.CodeActionTriggerKind.Automatic
        if asked_for and _wanted(FILL_ALL_KIND, only) and (count := await self._count(snapshot)):
            holes = "the hole" if count == 1 else f"all {count} holes"
            found.append(self._action(snapshot, f"Fill {holes} in this file", FILL_ALL_KIND, FILL_ALL_HOLES))
        return [self._for_editor(action) for action in found if _wanted(action.kind, only)]

    async def resolve(self, action: types.CodeAction) -> types.CodeAction:
        """The action with its edit, which the model makes now."""
        match action.data:
            case {"command": str(command), "arguments": dict(raw)} if command in NEEDS:
                given = read_arguments(command, NEEDS[command], (raw,))
            case _:
                raise ValueError("this code action is not one of ours")
        try:
            job = self._jobs.job(command, given)
            action.edit, _ = await self._edits.make(given.uri, action.title, job, given.version)
        except Refused as refused:
            raise JsonRpcException(str(refused), _REQUEST_FAILED) from None
        return action

    def _at(self, snapshot: DocumentSnapshot, params: types.CodeActionParams) -> Iterator[types.CodeAction]:
        session, span = self._session, params.range
        start, end = (
            snapshot.lines.offset(place.line, place.character, session.encoding) for place in (span.start, span.end)
        )
        tree = session.trees.around(snapshot, start)
        if tree is not None and (hole := hole_at(snapshot, tree, start, end)):
            place = self._position(snapshot, hole.start)
            yield self._action(snapshot, f"Fill {hole.label}", FILL_KIND, FILL_GAP, position=place)
        if start != end:
            yield self._action(snapshot, "Rewrite the selection", REWRITE_KIND, REWRITE, range=_plain(span))
        instructions = session.client.health.instructions
        if tree is not None and (docstring := docstring_at(snapshot, tree, start)):
            if docstring.hole:
                title, place = f"Add a docstring to {docstring.name}", self._position(snapshot, start)
                yield self._action(snapshot, title, DOCSTRING_KIND, FILL_GAP, position=place, docstring=True)
            elif docstring.span and instructions:
                where = dict(
                    zip(("start", "end"), (self._position(snapshot, at) for at in docstring.span), strict=True)
                )
                instruction = f"Bring this documentation of {docstring.name} up to date with its code."
                title = f"Update the docstring of {docstring.name}"
                yield self._action(snapshot, title, DOCSTRING_KIND, REWRITE, range=where, instruction=instruction)
        for diagnostic in params.context.diagnostics[: _MAX_FIXES if instructions else 0]:
            yield self._fix(snapshot, diagnostic)

    def _fix(self, snapshot: DocumentSnapshot, diagnostic: types.Diagnostic) -> types.CodeAction:
        lines, last = diagnostic.range, diagnostic.range.end.line
        line_end = snapshot.lines.end(last)
        where = {"start": {"line": lines.start.line, "character": 0}, "end": self._position(snapshot, line_end)}
        message = " ".join(diagnostic.message.split())
        instruction = f"Fix this problem: {message}"[:MAX_INSTRUCTION]
        title = f"Fix “{message if len(message) <= 60 else message[:59] + '…'}”"
        action = self._action(snapshot, title, FIX_KIND, REWRITE, range=where, instruction=instruction)
        action.diagnostics = [diagnostic]
        return action

    def _action(
        self, snapshot: DocumentSnapshot, title: str, kind: str, command: str, **arguments: Any
    ) -> types.CodeAction:
        given = {"uri": snapshot.uri, "version": snapshot.version, **arguments}
        return types.CodeAction(
            title=f"Lacuna: {title[0].lower()}{title[1:]}",
            kind=types.CodeActionKind(kind) if kind == FIX_KIND else kind,
            data={"command": command, "arguments": given},
        )

    def _for_editor(self, action: types.CodeAction) -> types.CodeAction | types.Command:
        """With ``data`` for an editor that resolves, with a command for others."""
        document = self._server.client_capabilities.text_document
        able = document.code_action if document else None
        resolves = able and able.data_support and able.resolve_support and "edit" in able.resolve_support.properties
        if resolves:
            return action
        data: Any = action.data
        command = types.Command(
            title=action.title, command=data["command"], arguments=[{**data["arguments"], "tell": True}]
        )
        if not (able and able.code_action_literal_support):
            return command
        action.command, action.data = command, None
        return action

    async def _count(self, snapshot: DocumentSnapshot) -> int:
        if self._counted is not None and self._counted[0] is snapshot:
            return self._counted[1]
        if len(snapshot.text) > MAX_COUNTED:
            return 0
        count = len(await asyncio.to_thread(holes_of, snapshot))
        self._counted = (snapshot, count)
        return count

    def _position(self, snapshot: DocumentSnapshot, offset: int) -> dict[str, int]:
        line, character = snapshot.lines.position(offset, self._session.encoding)
        return {"line": line, "character": character}


def _wanted(kind: Any, only: Any) -> bool:
    """Whether an editor that wants ``only`` these kinds, or what they contain, wants this one."""
    kind = getattr(kind, "value", kind)
    wanted = [getattr(one, "value", one) for one in only] if only is not None else [""]
    return any(one == "" or kind == one or kind.startswith(f"{one}.") for one in wanted)


def _plain(span: types.Range) -> dict[str, Any]:
    return {
        name: {"line": place.line, "character": place.character}
        for name, place in (("start", span.start), ("end", span.end))
    }
