"""Edits of a document that somebody asked for: at most one at a time for each, of one version, answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from inference.protocol import ErrorCode
from lsp_server.features.status import Status
from lsp_server.features.work_progress import WorkProgress
from lsp_server.features.workspace_edits import workspace_edit
from lsp_server.rewriting.changes import Change
from lsp_server.session import Session
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.worker_client import WorkerError, WorkerUnavailable

APPLY_LIMIT_S = 10.0
CONFIRM_LIMIT_S = 600.0
"""How long the user may look at an edit before it is applied."""

GRACE_S = 15.0
"""Beyond its deadline an edit may take so long, if the worker does not keep to it."""

CHANGED = "The document has changed meanwhile."


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """There is no edit; the text is one sentence for the user."""


@dataclass(frozen=True)
class Made:
    """``changes``, or none and ``reason`` says why; ``details`` go with the answer to a command."""

    changes: Sequence[Change] = ()
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)


Job = Callable[[DocumentSnapshot, WorkProgress], Awaitable[Made]]


class Edits:
    """Runs jobs, each of which computes the changes to one document."""

    def __init__(self, server: LanguageServer, session: Session, status: Status) -> None:
        self._server = server
        self._session = session
        self._status = status
        self._running: dict[str, asyncio.Task[Made]] = {}

    def refusal(self, uri: str, version: int | None = None) -> str:
        """Why a document may not be edited, in one sentence; empty if it may. Asks nobody."""
        snapshot = self._session.documents.get(uri)
        if snapshot is None:
            return "The document is not open."
        if version is not None and snapshot.version != version:
            return CHANGED
        return self._session.exclusions.why(snapshot, self._session.options)

    async def make(
        self, uri: str, title: str, job: Job, version: int | None = None
    ) -> tuple[types.WorkspaceEdit, Made]:
        """The edit of the document as it is now. Raises :class:`Refused`.

        Another edit of the same document that is still being made is given up.
        """
        session = self._session
        if reason := self.refusal(uri, version):
            raise Refused(reason)
        snapshot = session.documents.get(uri)
        assert snapshot is not None
        if older := self._running.get(uri):
            older.cancel()
        task = asyncio.create_task(self._work(snapshot, title, job), name=title)
        self._running[uri] = task
        try:
            made = await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():  # the editor cancelled: pygls answers RequestCancelled
                raise
            overtaken = self._running.get(uri) is not task
            raise Refused("Another edit of this document took its place." if overtaken else "Cancelled.") from None
        finally:
            if self._running.get(uri) is task:
                del self._running[uri]
        if not session.documents.is_latest(snapshot):
            raise Refused(CHANGED)
        if not made.changes:
            raise Refused(made.reason)
        return workspace_edit(session, self._server.client_capabilities, snapshot, made.changes, title), made

    async def run(
        self, uri: str, title: str, job: Job, *, version: int | None = None, preview: bool = False, tell: bool = False
    ) -> dict[str, Any]:
        """Make an edit and have it applied, or with ``preview`` return it: the answer to a command."""
        try:
            edit, made = await self.make(uri, title, job, version)
            details = {"reason": "", **made.details}
            if preview:
                return {"applied": False, "edit": self._server.protocol._converter.unstructure(edit), **details}
            return (
                {"applied": True, **details}
                if not (reason := await self._apply(edit, title))
                else self._no(reason, tell)
            )
        except Refused as refused:
            return self._no(str(refused), tell)

    async def _work(self, snapshot: DocumentSnapshot, title: str, job: Job) -> Made:
        limit_s = self._session.options.edit_deadline_ms / 1000 + GRACE_S
        try:
            async with asyncio.timeout(limit_s), WorkProgress(self._server, title).shown() as progress:
                with self._status.busy():
                    return await job(snapshot, progress)
        except TimeoutError:
            return Made(reason=f"There was no answer within {limit_s:g} seconds.")
        except WorkerUnavailable as unavailable:
            self._status.health_changed(unavailable.health)
            said = str(unavailable)
            return Made(
                reason=f"The model is not ready ({unavailable.health.state.value}){said and f': {said}'}".rstrip(".")
                + "."
            )
        except WorkerError as error:
            if error.code is ErrorCode.SUPERSEDED:
                return Made(reason="Another edit of this document took its place.")
            return Made(reason=str(error).rstrip(".") + ".")

    async def _apply(self, edit: types.WorkspaceEdit, label: str) -> str:
        """Why the editor has not applied it; empty if it has."""
        params = types.ApplyWorkspaceEditParams(edit=edit, label=label)
        limit_s = CONFIRM_LIMIT_S if edit.change_annotations else APPLY_LIMIT_S
        try:
            result = await asyncio.wait_for(self._server.workspace_apply_edit_async(params), limit_s)
        except TimeoutError:
            return "The editor did not answer."
        except JsonRpcException as error:
            return f"The editor refused the edit: {error.message}"
        return "" if result.applied else result.failure_reason or "The editor did not apply the edit."

    def _no(self, reason: str, tell: bool) -> dict[str, Any]:
        if tell:
            message = types.ShowMessageParams(types.MessageType.Info, f"Lacuna: {reason}")
            self._server.window_show_message(message)
        return {"applied": False, "reason": reason}
