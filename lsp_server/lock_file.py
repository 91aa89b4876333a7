"""One process at a time: a lock that the system releases when its holder dies."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

POLL_S = 0.03


class LockTimeout(Exception):  # noqa: N818 - a state of the world
    """Another process held the lock for longer than the limit."""


class LockFile:
    """An asynchronous context manager around a lock file, whose content remembers when workers were started.

    Waits at most ``limit_s`` seconds, then raises :class:`LockTimeout`. Raises :class:`OSError` when the file cannot
    be made or written.
    """

    def __init__(self, path: Path, limit_s: float) -> None:
        self._path = path
        self._limit_s = limit_s
        self._descriptor = -1

    async def __aenter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(self._path, flags, 0o600)
        deadline = time.monotonic() + self._limit_s
        try:
            while not self._try_lock():
                if time.monotonic() > deadline:
                    raise LockTimeout(f"{self._path} has been locked for more than {self._limit_s:g} seconds")
                await asyncio.sleep(POLL_S)
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def recent_starts(self, within_s: float) -> list[float]:
        """Return the noted times (``time.time()``) of the last ``within_s`` seconds."""
        os.lseek(self._descriptor, 1, os.SEEK_SET)
        try:
            starts = json.loads(os.read(self._descriptor, 4096))
            return [at for at in starts if 0 <= time.time() - at < within_s]
        except (ValueError, TypeError):
            return []

    def note_starts(self, starts: list[float]) -> None:
        """Replace the noted times; the first byte is the one that Windows locks."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, b" " + json.dumps(starts).encode())

    def _try_lock(self) -> bool:
        try:
            if sys.platform == "win32":
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True
