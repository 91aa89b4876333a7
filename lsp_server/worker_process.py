"""Starting the worker's process detached from everything of ours, and ending it only when it is surely ours."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from lsp_server.worker_spec import WorkerFiles, WorkerSpec


def worker_command(spec: WorkerSpec, files: WorkerFiles) -> list[str]:
    """Return the command line of a new worker. Raises :class:`RuntimeDirError`."""
    if spec.http is not None or sys.platform == "win32":
        place = ["--http", spec.http or "127.0.0.1:0"]
    else:
        place = ["--socket", str(files.new_socket())]
    times = ["--keep-alive", f"{spec.keep_alive_s:g}", "--unload-after", f"{spec.unload_after_s:g}"]
    options = [*spec.loading, *times, "--log-level", spec.log_level]
    return [*spec.command, "--endpoint", str(files.endpoint), *place, *options]


def spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own, holding nothing of ours open. Raises :class:`OSError`.

    A thread waits for its end, so that it never lingers as a zombie; it lives on when this process ends.
    """
    detached_group = 0x00000208 if sys.platform == "win32" else 0  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT  # reading and appending tells the worker that it may shorten it
    with os.fdopen(os.open(log, flags, 0o600), "ab+") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            close_fds=True,
            cwd=log.anchor or "/",
            start_new_session=True,
            creationflags=detached_group,
        )
    threading.Thread(target=process.wait, name="reaper", daemon=True).start()
    return process


def spawn_attached(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a worker in the foreground: our terminal, our standard error, our end. Raises :class:`OSError`."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def is_our_worker(pid: int, endpoint: Path) -> bool:
    """Whether this process is surely a worker of ours: it runs with this endpoint file on its command line.

    False where that cannot be found out, and for a dead process: then nobody may signal it.
    """
    if sys.platform == "win32" or pid <= 1:
        return False
    process = Path(f"/proc/{pid}")
    try:
        if sys.platform == "linux":
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            return process.stat().st_uid == os.geteuid() and os.fsencode(endpoint) in arguments
        listing = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        return str(endpoint) in subprocess.run(listing, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal a process; one that has just ended is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
