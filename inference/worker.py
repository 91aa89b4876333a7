"""The resident process: a listener, an endpoint file, a scheduler, and the reasons to leave.

It leaves, gracefully, when nobody has used it for its keep-alive, when its endpoint file is gone or another's, on
SIGTERM and SIGINT, and ``ERROR_LINGER_S`` after the model could not be loaded or broke: until then it stays to say
why, after that the next start may try again. Leaving, it finishes what runs within ``GRACE_S`` and cancels what does
not finish.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from inference.app import create_app
from inference.endpoint_file import EndpointFile
from inference.engines.base import Engine
from inference.log_file import shorten_log
from inference.protocol import Endpoint, WorkerState
from inference.scheduler import Scheduler
from inference.worker_options import WorkerOptions

ENGINE = "local"
ERROR_LINGER_S = 30.0
GRACE_S = 3
POLL_S = 1.0
HTTP_KEEP_ALIVE_S = 120
COULD_NOT = 3

_log = logging.getLogger(__name__)


def run_worker(options: WorkerOptions, create_engine: Callable[[], Engine]) -> int:
    """Serve until there is a reason to leave; return the exit code. ``create_engine`` runs on the model thread."""
    os.umask(0o077)
    try:
        worker = Worker(options, create_engine)
    except OSError as error:
        _log.error("%s", _sentence(options, error))
        return COULD_NOT
    try:
        worker.serve()
    finally:
        stopped = worker.close()
    if not stopped:
        logging.shutdown()
        os._exit(0)  # the model thread is deep in a kernel; unwinding the interpreter under it would crash
    return 0


class Worker:
    """A listening worker. Raises :class:`OSError` when it cannot listen or cannot write its endpoint file."""

    def __init__(self, options: WorkerOptions, create_engine: Callable[[], Engine]) -> None:
        self._options = options
        self._scheduler = Scheduler(
            create_engine, model=options.model_name, engine=ENGINE, unload_after_s=options.unload_after_s
        )
        self._listener, address = _listen(options)
        endpoint = Endpoint(
            address=address,
            token=secrets.token_urlsafe(32),
            pid=os.getpid(),
            model=options.model_name,
            engine=ENGINE,
        )
        self._endpoint_file = EndpointFile(options.endpoint, endpoint)
        app = create_app(self._scheduler, token=endpoint.token, loopback_only=options.socket is None)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=HTTP_KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        try:
            self._endpoint_file.write()
        except OSError:
            self._remove_socket()
            raise
        _log.info("listening at %s as process %d", address, endpoint.pid)

    def serve(self) -> None:
        """Answer requests until there is a reason to leave."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)  # also after the server's own handlers, which pass the signal on
        self._scheduler.start()
        asyncio.run(self._serve())

    def close(self) -> bool:
        """Remove the traces and free the model; False if the model thread did not end in time."""
        self._endpoint_file.remove()
        self._remove_socket()
        stopped = self._scheduler.close(GRACE_S)
        _log.info("left")
        return stopped

    async def _serve(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        error_since: float | None = None
        while not self._server.should_exit:
            shorten_log()
            failed = self._scheduler.health.state is WorkerState.ERROR
            error_since = (error_since or time.monotonic()) if failed else None
            if reason := self._reason_to_leave(error_since):
                _log.info("leaving: %s", reason)
                self._server.should_exit = True
            await asyncio.sleep(POLL_S)

    def _reason_to_leave(self, error_since: float | None) -> str | None:
        if not self._endpoint_file.is_ours():
            return "the endpoint file is gone or another worker's"
        if error_since is not None and time.monotonic() - error_since >= ERROR_LINGER_S:
            return "the model is out of use"
        if 0 < self._options.keep_alive_s <= self._scheduler.idle_seconds():
            return f"nobody has used it for {self._options.keep_alive_s:g} seconds"
        return None

    def _leave(self, number: int, frame: FrameType | None) -> None:
        self._server.should_exit = True

    def _remove_socket(self) -> None:
        self._listener.close()
        if self._options.socket is not None:
            self._options.socket.unlink(missing_ok=True)


def _listen(options: WorkerOptions) -> tuple[socket.socket, str]:
    if options.socket is not None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(options.socket))
        address = f"unix:{options.socket}"
    else:
        assert options.http is not None
        host, port = options.http
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        port = listener.getsockname()[1]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    listener.listen(128)
    return listener, address


def _sentence(options: WorkerOptions, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"there is no room on the disk for {options.endpoint}: {error.strerror}; free some and start again"
    if error.errno == errno.EADDRINUSE:
        place = options.socket or "{}:{}".format(*(options.http or ("", 0)))
        return f"{place} is in use by another program; choose another address or end that program"
    return f"the worker cannot listen: {error}"
