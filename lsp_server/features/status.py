"""``lacuna/status``: what the worker is doing, and why there are no suggestions just now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from inference.protocol import Health, WorkerState
from lsp_server.features.loading_progress import LoadingProgress
from lsp_server.lifecycle_error import LifecycleError
from lsp_server.session import Session

STATUS = "lacuna/status"
STATES = (*(state.value for state in WorkerState), "busy", "off", "excluded")
BUSY_AFTER_S = 0.1
"""A shorter wait is not told: the editor's status line would flicker with every key."""


class Status:
    """Sends the status to the editor, each time that it changes and no more often. Lives on the event loop."""

    def __init__(self, server: LanguageServer, session: Session) -> None:
        self._server = server
        self._session = session
        self._loading = LoadingProgress(server)
        self._health: Health | None = None
        self._silence: tuple[str, str] | None = None
        self._waiting = 0
        self._busy = False
        self._busy_soon: asyncio.TimerHandle | None = None
        self._sent: dict[str, Any] | None = None

    async def follow(self) -> None:
        """Tell how the worker does from now on, and see to it that there is one."""
        client = self._session.client
        client.on_health(self.health_changed)
        self.health_changed(client.health)
        await client.start()

    def health_changed(self, health: Health) -> None:
        """Take in the worker's health and tell the editor."""
        self._health = health
        self._send()
        self._loading.health_changed(health)

    def silent(self, uri: str, reason: str) -> None:
        """Say why the document that was asked for last gets no suggestions; an empty reason says that it does."""
        self._silence = (uri, reason) if reason else None
        self._send()

    def recheck(self) -> None:
        """Settings, trust or ignore files have changed, or a document was closed: what was said may hold no more."""
        if self._silence:
            snapshot = self._session.documents.get(self._silence[0])
            reason = self._session.exclusions.why(snapshot, self._session.options) if snapshot else ""
            self._silence = (self._silence[0], reason) if reason else None
        self._send()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Say "busy" while somebody waits for the model, if it takes long enough to be seen. Nests and overlaps."""
        self._waiting += 1
        if self._waiting == 1:
            self._busy_soon = asyncio.get_running_loop().call_later(BUSY_AFTER_S, self._show_busy)
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                if self._busy_soon:
                    self._busy_soon.cancel()
                if self._busy:
                    self._busy = False
                    self._send()

    def _show_busy(self) -> None:
        self._busy = True
        self._send()

    def current(self) -> dict[str, Any]:
        """The parameters of ``lacuna/status``, as in ``notifications.schema.json``."""
        health = self._health or self._session.client.health
        state, message = self._state(health)
        status: dict[str, Any] = {
            "state": state,
            "model": health.model,
            "engine": health.engine,
            "device": health.device,
            "progress": health.progress,
            "message": message,
        }
        if self._silence:
            status["inactive"] = {"uri": self._silence[0], "reason": self._silence[1]}
        if until := self._session.settings.switches.snoozed_until:
            status["snoozedUntil"] = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
        if (latency := self._session.trace.latency_ms) is not None:
            status["latencyMs"] = round(latency, 1)
        return status

    def _state(self, health: Health) -> tuple[str, str]:
        """The state, and a sentence about it: the user's switches first, then the document, then the worker."""
        session = self._session
        if until := session.settings.switches.snoozed_until:
            return "off", f"Suggestions are snoozed until {datetime.fromtimestamp(until).astimezone():%H:%M}."
        if not session.options.enabled:
            return "off", "Suggestions are switched off."
        if self._silence:
            uri, reason = self._silence
            snapshot = session.documents.get(uri)
            language_off = snapshot is not None and snapshot.language_id in session.options.disabled_languages
            return ("off" if language_off else "excluded"), reason
        if health.state is WorkerState.READY and self._busy:
            return "busy", health.message
        return health.state.value, health.message

    def _send(self) -> None:
        if self._health is None:
            return  # the editor hears nothing before ``initialized``
        status = self.current()
        told = {name: value for name, value in status.items() if name != "latencyMs"}  # not worth a message by itself
        if told != self._sent:
            self._sent = told
            self._server.protocol.notify(STATUS, status)


def register(server: LanguageServer, session: Session) -> Status:
    """Offer the commands; returns what other features report to."""
    status = Status(server, session)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(_: types.DidCloseTextDocumentParams) -> None:
        status.recheck()

    @server.command("lacuna.status")
    def show(*_: Any) -> dict[str, Any]:
        return status.current()

    @server.command("lacuna.restartWorker")
    async def restart(*_: Any) -> dict[str, Any]:
        try:
            await session.client.restart()
        except LifecycleError as error:
            status.health_changed(replace(session.client.health, state=WorkerState.ERROR, message=str(error)))
        return status.current()

    return status
