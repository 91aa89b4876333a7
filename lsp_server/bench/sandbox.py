"""Runs a program that a model wrote: in a process, a folder and a session of its own, with limits on everything.

It keeps accidents in, of the kind that models write; it is no jail for a program that wants out.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TIME_LIMIT_S = 5.0
_RUNNER = Path(__file__).with_name("sandboxed.py")


@dataclass(frozen=True)
class Verdict:
    """``passed`` if the program ran to its end; else ``reason`` says what happened instead."""

    passed: bool
    reason: str = ""


def run_program(source: str, *, limit_s: float = TIME_LIMIT_S) -> Verdict:
    """Run Python source for at most ``limit_s`` seconds, and end whatever it has started.

    Leaving early, with whatever exit code, is no passing: only the end of the source gives out the password. Raises
    :class:`OSError` when no process can be started, :class:`NotImplementedError` on Windows.
    """
    if sys.platform == "win32":
        raise NotImplementedError("programs cannot be limited on Windows")
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="lacuna-bench-") as folder, _started(folder, password, limit_s) as process:
        try:
            said, _ = process.communicate(source.encode("utf-8", "surrogatepass"), timeout=limit_s)
        except subprocess.TimeoutExpired:
            return Verdict(False, "timed out")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # whatever the program has started, too
    return _verdict(said.decode("utf-8", "replace"), password, process.returncode)


def _started(folder: str, password: str, limit_s: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_RUNNER), password, f"{limit_s:g}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )


def _verdict(said: str, password: str, returncode: int) -> Verdict:
    if said == password:
        return Verdict(True)
    if said:
        return Verdict(False, said[:80])
    if returncode < 0:
        return Verdict(False, f"killed by {signal.Signals(-returncode).name}")
    return Verdict(False, "ended before its tests did")
