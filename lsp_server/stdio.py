"""The two ends of the pipe to the editor. A thread waits for input, so that nothing ever keeps the process alive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO

_CHUNK_BYTES = 64 * 1024
_CHUNKS_AHEAD = 16
_MAX_PENDING_BYTES = 16 * 1024 * 1024
"""An editor that leaves so much unread will not read the rest either."""


async def chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What arrives, until the other side closes. The thread that reads is bounded, and dies with the process."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    free = threading.Semaphore(_CHUNKS_AHEAD)

    def read() -> None:
        while True:
            free.acquire()
            try:
                data = os.read(descriptor, _CHUNK_BYTES)
            except OSError:
                data = b""
            try:
                loop.call_soon_threadsafe(queue.put_nowait, data)
            except RuntimeError:
                return  # the loop is closed: nobody listens any more
            if not data:
                return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while data := await queue.get():
        free.release()
        yield data


class Output:
    """Writes to the editor without ever waiting for it: what a full pipe does not take is written when it does.

    When nobody reads any more, ``lost`` is called once, and the rest goes nowhere.
    """

    def __init__(self, file: BinaryIO, lost: Callable[[], None], *, stdin: int | None = None) -> None:
        self._descriptor = file.fileno()
        self._file = file  # which keeps the descriptor open
        self._lost = lost
        self._pending = bytearray()
        self._waiting = False
        self._open = True
        self._empty = asyncio.Event()
        self._empty.set()
        status = os.fstat(self._descriptor)
        is_pipe = stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)
        shared = stdin is not None and os.path.samestat(status, os.fstat(stdin))  # one socket for both directions
        if is_pipe and not shared and os.name == "posix":
            os.set_blocking(self._descriptor, False)

    def write(self, data: bytes) -> None:
        """Write one message, now or soon."""
        if not self._open:
            return
        self._pending += data
        self._empty.clear()
        if len(self._pending) > _MAX_PENDING_BYTES:
            self._give_up()
        elif not self._waiting:
            self._flush()

    def close(self) -> None:
        """Write nothing more."""
        self._open = False
        self._pending.clear()
        self._empty.set()
        self._wait(False)

    async def finish(self, limit_s: float) -> None:
        """Wait until everything is written, or the limit has passed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), limit_s)
        self.close()

    def _flush(self) -> None:
        try:
            while self._pending:
                written = os.write(self._descriptor, self._pending[:_CHUNK_BYTES])
                del self._pending[:written]
        except BlockingIOError:
            self._wait(True)
            return
        except OSError:
            self._give_up()
            return
        self._wait(False)
        self._empty.set()

    def _wait(self, waiting: bool) -> None:
        if waiting != self._waiting:
            self._waiting = waiting
            loop = asyncio.get_running_loop()
            if waiting:
                loop.add_writer(self._descriptor, self._flush)
            else:
                loop.remove_writer(self._descriptor)

    def _give_up(self) -> None:
        self.close()
        self._lost()
