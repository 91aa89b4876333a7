"""Work-done progress for a command that takes a while, with a button that ends it, for editors that show one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from lsprotocol import types
from pygls.lsp.server import LanguageServer

CREATE_LIMIT_S = 5.0
"""How long an editor may take to accept a progress; one that never answers sees none."""

_log = logging.getLogger(__name__)


@dataclass
class WorkProgress:
    """One piece of work, titled; :meth:`report` costs nothing where nobody looks."""

    server: LanguageServer
    title: str
    token: str = field(default_factory=lambda: f"lacuna-{secrets.token_hex(4)}")
    _shown: bool = False

    def report(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` parts are done."""
        if self._shown:
            percentage = 100 * done // max(1, total)
            report = types.WorkDoneProgressReport(message=f"{done} of {total}", percentage=percentage, cancellable=True)
            self.server.work_done_progress.report(self.token, report)

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[WorkProgress]:
        """Show it while the block runs. Cancelling it in the editor cancels the task that runs the block."""
        opening = asyncio.create_task(self._open(asyncio.current_task()), name="progress")
        try:
            yield self
        finally:
            opening.cancel()
            if self._shown:
                self._shown = False
                self.server.work_done_progress.end(self.token, types.WorkDoneProgressEnd())
            self.server.work_done_progress.tokens.pop(self.token, None)

    async def _open(self, work: asyncio.Task[object] | None) -> None:
        """Beside the work, which does not wait for the editor's leave."""
        window, progress = self.server.client_capabilities.window, self.server.work_done_progress
        if not window or not window.work_done_progress:
            return
        try:
            await asyncio.wait_for(progress.create_async(self.token), CREATE_LIMIT_S)
        except Exception as error:  # an editor that refuses is no reason to trouble anybody
            _log.info("the editor takes no progress: %s", type(error).__name__)
            return
        begin = types.WorkDoneProgressBegin(title=self.title, cancellable=True, percentage=0)
        progress.begin(self.token, begin)
        self._shown = True
        if work is not None:
            loop = asyncio.get_running_loop()

            def ended(future: object) -> None:
                if self._shown:
                    loop.call_soon_threadsafe(work.cancel)

            progress.tokens[self.token].add_done_callback(ended)
