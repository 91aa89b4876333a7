"""The worker's log: what it prints to standard error, which whoever started it has pointed at a file."""

from __future__ import annotations

import logging
import os
import stat
import sys
import traceback

MAX_LOG_BYTES = 4 * 1024 * 1024
KEPT_LOG_BYTES = 256 * 1024


def start_log(level: str) -> None:
    """Send logging to standard error, and whatever anybody prints too: standard output belongs to nobody here."""
    sys.stdout.flush()
    os.dup2(2, 1)
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=form, force=True)
    for library in ("asyncio", "httpcore", "httpx", "urllib3", "filelock"):
        logging.getLogger(library).setLevel(logging.WARNING)


def shorten_log(descriptor: int = 2, *, max_bytes: int = MAX_LOG_BYTES, kept_bytes: int = KEPT_LOG_BYTES) -> None:
    """Cut a log that has outgrown ``max_bytes`` down to its last ``kept_bytes``.

    Only a regular file open for appending *and reading* is cut, which is how the launcher opens its log: a file that
    somebody redirected standard error to is theirs.
    """
    if sys.platform == "win32":
        return
    import fcntl

    status = os.fstat(descriptor)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    ours = stat.S_ISREG(status.st_mode) and flags & os.O_APPEND and flags & os.O_ACCMODE == os.O_RDWR
    if not ours or status.st_size <= max_bytes:
        return
    tail = os.pread(descriptor, kept_bytes, status.st_size - kept_bytes)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"[older lines were dropped]\n" + tail[tail.find(b"\n") + 1 :])


def log_without_text(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log where an error arose; what it says may quote the user's buffer and is left to DEBUG."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s\n%s", what, type(error).__name__, frames.rstrip())
    log.debug("%s: %r", what, error)
