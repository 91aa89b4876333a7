"""The worker behind a :class:`WorkerClient`: found or started in the background, followed, replaced when it dies."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from inference.protocol import Draft, EditRequest, ErrorCode, Health, InfillRequest, InfillResult, WorkerState
from lsp_server.lifecycle import ensure_worker, last_words, stop_worker
from lsp_server.lifecycle_error import LifecycleError
from lsp_server.worker_client import WorkerError, WorkerUnavailable
from lsp_server.worker_connection import ConnectionLost, NoAnswer, WorkerConnection, connect
from lsp_server.worker_spec import WorkerFiles, WorkerSpec

LOADING_POLL_S = 0.1
READY_POLL_S = 10.0
RETRY_AFTER_ERROR_S = (2.0, 10.0, 60.0)
"""How long a keystroke does not try again after a worker could not be had once, twice, more often in a row;
:meth:`start` does at once."""

INFILL_LIMIT_S = 120.0
"""How long an answer may take when the request has no deadline."""
DEADLINE_GRACE_S = 10.0
"""How long beyond its deadline an answer may take."""

_log = logging.getLogger(__name__)


class HttpWorkerClient:
    """A :class:`WorkerClient` for the worker that ``spec`` describes. Lives on one event loop; made anywhere."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._key = secrets.token_hex(8)  # tells the worker whose turn it is, and nothing else
        self._health = Health(state=WorkerState.STOPPED, model=spec.model_name, engine="local")
        self._listeners: list[Callable[[Health], None]] = []
        self._connection: WorkerConnection | None = None
        self._following: asyncio.Task[None] | None = None
        self._retry_at = 0.0
        self._failures = 0
        self._closed = False

    @property
    def health(self) -> Health:
        """The last known health, without asking."""
        return self._health

    def on_health(self, listener: Callable[[Health], None]) -> None:
        """Call ``listener`` on the event loop each time the health changes."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Start or attach in the background; returns at once and follows the loading through :attr:`health`."""
        self._start()

    async def restart(self) -> None:
        """Stop the worker, for every window, and start another. Raises :class:`LifecycleError`."""
        await self._let_go()
        await stop_worker(self._spec)
        self._start()

    async def infill(self, request: InfillRequest, on_draft: Callable[[Draft], None] | None = None) -> InfillResult:
        """Fill gaps; see :class:`WorkerClient`. Waits for the request's deadline and some seconds more at most."""
        return await self._fill(request, on_draft)

    async def edit(self, request: EditRequest, on_draft: Callable[[Draft], None] | None = None) -> InfillResult:
        """Rewrite a selection; see :class:`WorkerClient`. Waits as long as :meth:`infill`."""
        return await self._fill(request, on_draft)

    async def close(self) -> None:
        """Let go of the worker, which lives on for other windows."""
        self._closed = True
        await self._let_go()
        self._set(replace(self._health, state=WorkerState.STOPPED, message="this client is closed"))

    async def _fill(
        self, request: InfillRequest | EditRequest, on_draft: Callable[[Draft], None] | None
    ) -> InfillResult:
        connection = self._connection
        if connection is None or self._health.state is not WorkerState.READY:
            if time.monotonic() >= self._retry_at:
                self._start()
            raise WorkerUnavailable(self._health)
        limit_s = INFILL_LIMIT_S if request.deadline_ms is None else request.deadline_ms / 1000 + DEADLINE_GRACE_S
        try:
            return await connection.fill(replace(request, client=self._key), on_draft, limit_s)
        except (ConnectionLost, NoAnswer) as error:
            raise self._give_up(connection, str(error)) from None
        except WorkerError as error:
            if error.code in (ErrorCode.NOT_READY, ErrorCode.UNAUTHORIZED):
                raise self._give_up(connection, str(error)) from None
            raise

    def _start(self) -> None:
        if self._closed or (self._following is not None and not self._following.done()):
            return
        self._set(replace(self._health, state=WorkerState.STARTING, progress=0.0, message="starting the worker"))
        self._following = asyncio.create_task(self._follow(), name="worker")

    def _give_up(self, connection: WorkerConnection, message: str) -> WorkerUnavailable:
        """Look for a worker anew, unless somebody has begun to; whatever is behind ``connection`` gets replaced."""
        if connection is self._connection and self._following is not None:
            self._following.cancel()
            self._connection = self._following = None
            self._start()
        return WorkerUnavailable(replace(self._health, message=message))

    async def _follow(self) -> None:
        try:
            silent = True
            while silent:
                connection = await connect(await ensure_worker(self._spec))
                try:
                    silent = await self._watch(connection)
                finally:
                    if self._connection is connection:
                        self._connection = None
                    await connection.close()
        except LifecycleError as error:
            self._fail(str(error))
        except Exception as error:  # a fault of ours must not leave the user without a word
            _log.exception("following the worker failed")
            self._fail(f"following the worker failed: {type(error).__name__}")

    async def _watch(self, connection: WorkerConnection) -> bool:
        """Follow one worker's health until it fails or is gone; True if it is there but silent: it must be replaced."""
        ready = False
        while True:
            try:
                health = await connection.health(self._spec.hung_limit_s)
            except NoAnswer as error:
                self._set(replace(self._health, state=WorkerState.STARTING, progress=0.0, message=str(error)))
                return True
            except ConnectionLost as error:
                if ready:
                    self._set(replace(self._health, state=WorkerState.STOPPED, message=str(error)))
                else:
                    files = await asyncio.to_thread(WorkerFiles.of, self._spec)
                    self._fail(f"the worker ended while loading: {last_words(files.log)}")
                return False
            if health.state is WorkerState.ERROR:
                self._fail(health.message, health)
                return False
            ready = health.state is WorkerState.READY
            if ready:
                self._failures = 0
            self._connection = connection if ready else None
            self._set(health)
            await asyncio.sleep(READY_POLL_S if ready else LOADING_POLL_S)

    async def _let_go(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    def _fail(self, message: str, health: Health | None = None) -> None:
        wait_s = RETRY_AFTER_ERROR_S[min(self._failures, len(RETRY_AFTER_ERROR_S) - 1)]
        self._failures, self._retry_at = self._failures + 1, time.monotonic() + wait_s
        self._set(replace(health or self._health, state=WorkerState.ERROR, progress=0.0, message=message))

    def _set(self, health: Health) -> None:
        if health == self._health:
            return
        self._health = health
        for listener in self._listeners:
            try:
                listener(health)
            except Exception:  # one listener's fault is not the worker's, nor the other listeners'
                _log.exception("a health listener failed")
