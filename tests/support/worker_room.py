"""Real worker processes around a fake engine, in directories of their own, ended when the test ends."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lsp_server.endpoint_file import BadEndpoint, read_endpoint
from lsp_server.worker_spec import WorkerSpec
from tests.support.fake_engine import Script, steps_run, write_script

ROOT = Path(__file__).parent.parent.parent
FAKE_WORKER = (sys.executable, "-P", "-m", "tests.support.fake_worker")
PATIENCE_S = 30.0


class WorkerRoom:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.runtime = folder / "run"
        self.logs = folder / "log"
        monkeypatch.setenv("LACUNA_RUNTIME_DIR", str(self.runtime))
        monkeypatch.setenv("LACUNA_LOG_DIR", str(self.logs))
        monkeypatch.setenv("LACUNA_FAKE_ENGINE", str(folder))
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setattr("lsp_server.lifecycle.HUNG_TERM_S", 0.1)  # a stopped worker never leaves by itself
        self.spec = WorkerSpec(command=FAKE_WORKER)

    @property
    def endpoint_path(self) -> Path:
        return self.runtime / "default.json"

    def with_(self, **changes: object) -> WorkerSpec:
        return replace(self.spec, **changes)  # type: ignore[arg-type]

    def play(self, script: Script) -> None:
        write_script(self.folder, script)

    def steps_run(self) -> int:
        return steps_run(self.folder)

    def log(self) -> str:
        return "".join(path.read_text() for path in self.logs.glob("*.log"))

    def workers(self) -> list[int]:
        """Process ids of the workers that live in this room, found by their command lines."""
        mark = os.fsencode(self.folder)
        return [pid for pid, line in _command_lines() if b"--endpoint" in line and mark in line]

    def close(self) -> None:
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def room_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    """The body of a fixture: a room, emptied in the end."""
    room = WorkerRoom(folder, monkeypatch)
    try:
        yield room
    finally:
        room.close()


def wait_until(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Wait for something that another process does; there is no event to wait for."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def endpoint_is_there(path: Path) -> bool:
    try:
        return read_endpoint(path) is not None
    except BadEndpoint:
        return False


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def is_gone(pid: int) -> None:
    """A process that was ended is gone at once; but the kernel takes it down in steps, its command line first."""
    wait_until(lambda: not alive(pid), limit_s=1.0)


def _command_lines() -> Iterator[tuple[int, bytes]]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(process.name), (process / "cmdline").read_bytes()
