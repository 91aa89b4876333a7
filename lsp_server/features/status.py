"""``lacuna/status``: what the worker is doing, and why a document gets no suggestions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from inference.protocol import Health, WorkerState
from lsp_server.features.loading_progress import LoadingProgress
from lsp_server.lifecycle_error import LifecycleError
from lsp_server.session import Session

STATUS = "lacuna/status"


class Status:
    """Sends the status to the editor, each time that it changes and no more often."""

    def __init__(self, server: LanguageServer, session: Session) -> None:
        self._server = server
        self._session = session
        self._loading = LoadingProgress(server)
        self._health: Health | None = None
        self._silence: tuple[str, str] | None = None
        self._sent: dict[str, Any] | None = None

    def health_changed(self, health: Health) -> None:
        """Take in the worker's health and tell the editor."""
        self._health = health
        self._send()
        self._loading.health_changed(health)

    def silent(self, uri: str, reason: str) -> None:
        """Say why a document gets no suggestions; an empty reason takes that back."""
        silence = (uri, reason) if reason else None
        if silence or (self._silence and self._silence[0] == uri):
            self._silence = silence
            self._send()

    def current(self) -> dict[str, Any]:
        """The parameters of ``lacuna/status``, as in ``notifications.schema.json``."""
        health = self._health or self._session.client.health
        status: dict[str, Any] = {
            "state": health.state.value,
            "model": health.model,
            "engine": health.engine,
            "device": health.device,
            "progress": health.progress,
            "message": health.message,
        }
        if self._silence:
            status["inactive"] = {"uri": self._silence[0], "reason": self._silence[1]}
        return status

    def _send(self) -> None:
        status = self.current()
        if status != self._sent:
            self._sent = status
            self._server.protocol.notify(STATUS, status)


def register(server: LanguageServer, session: Session) -> Status:
    """Follow the worker's health from ``initialized`` on; returns what other features report to."""
    status = Status(server, session)

    @server.feature(types.INITIALIZED)
    async def initialized(_: types.InitializedParams) -> None:
        session.client.on_health(status.health_changed)
        status.health_changed(session.client.health)
        await session.client.start()

    @server.feature(types.SHUTDOWN)
    async def shutdown(_: None = None) -> None:
        if session.has_client:
            await session.client.close()

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
