"""Work-done progress (``$/progress``) while the worker loads its model, for editors that show it."""

from __future__ import annotations

import asyncio
import logging
import secrets

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from inference.protocol import Health, WorkerState

CREATE_LIMIT_S = 5.0
"""How long to wait for the editor to accept a progress token; an editor that never answers sees none."""

_log = logging.getLogger(__name__)


class LoadingProgress:
    """One progress from the first ``loading`` to whatever follows it. Lives on the event loop."""

    def __init__(self, server: LanguageServer) -> None:
        self._server = server
        self._health: Health | None = None
        self._showing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def health_changed(self, health: Health) -> None:
        """Take in the worker's health."""
        self._health = health
        self._changed.set()
        idle = self._showing is None or self._showing.done()
        if health.state is WorkerState.LOADING and idle and self._editor_shows_it():
            self._showing = asyncio.get_running_loop().create_task(self._show(), name="loading progress")

    def _editor_shows_it(self) -> bool:
        window = self._server.client_capabilities.window
        return bool(window and window.work_done_progress)

    async def _show(self) -> None:
        token, progress = f"lacuna-{secrets.token_hex(4)}", self._server.work_done_progress
        try:
            await asyncio.wait_for(progress.create_async(token), CREATE_LIMIT_S)
        except Exception as error:  # an editor that refuses is no reason to trouble anybody
            _log.info("the editor takes no progress: %s", type(error).__name__)
            return
        begun = False
        while (health := self._health) is not None and health.state is WorkerState.LOADING:
            self._changed.clear()
            percentage = round(100 * health.progress)
            if begun:
                report = types.WorkDoneProgressReport(message=health.message, percentage=percentage)
                progress.report(token, report)
            else:
                title = f"Loading {health.model}"
                begin = types.WorkDoneProgressBegin(title=title, message=health.message, percentage=percentage)
                progress.begin(token, begin)
                begun = True
            await self._changed.wait()
        if not begun:
            progress.begin(token, types.WorkDoneProgressBegin(title="Loading the model"))
        last = health.message if health is not None and health.state is WorkerState.ERROR else None
        progress.end(token, types.WorkDoneProgressEnd(message=last))
