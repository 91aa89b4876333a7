"""Programs as models write them: only one that runs to its end has passed, and none leaves anything behind."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from lsp_server.bench.sandbox import Verdict, run_program


@pytest.mark.parametrize(
    "source",
    [
        "assert 1 + 1 == 2",
        "print('x' * 100_000); import sys; print('y', file=sys.stderr)",
        "open('note.txt', 'w').write('kept inside'); assert open('note.txt').read() == 'kept inside'",
        "import sys; assert len(sys.argv) == 1 and __name__ == '__main__' and sys.stdin.read() == ''",
        "import collections, functools, heapq, itertools, math, re, typing, datetime, random, hashlib",
        "text = 'caf\u00e9 \U0001f642'",
    ],
)
def test_a_program_that_runs_to_its_end_has_passed(source: str) -> None:
    assert run_program(source) == Verdict(True)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("assert 1 + 1 == 3", "AssertionError"),
        ("def f(:", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("raise SystemExit", "SystemExit"),
        ("import os; os._exit(0)", "ended before its tests did"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "PermissionError"),
        ("import ctypes; ctypes.string_at(0)", "PermissionError"),
        ("x = 'a' * 10**10", "MemoryError"),
        ("def f(): f()\nf()", "RecursionError"),
        ("open('large', 'wb').write(b'x' * 10**7)", "OSError"),
        ("open('/var/tmp/outside.txt', 'w')", "PermissionError"),
        ("import os; os.chdir('/var/tmp'); open('outside.txt', 'w')", "PermissionError"),
        ("import os; os.remove('/var/tmp/outside.txt')", "PermissionError"),
        ("import shutil; shutil.rmtree('/var/tmp/outside')", "PermissionError"),
        ("import os; os.mkdir('/var/tmp/outside')", "PermissionError"),
        ("import os; os.mkdir(os.getcwd() + '-beside')", "PermissionError"),
        ("import os; os.open('/var/tmp/outside.txt', os.O_CREAT)", "PermissionError"),
        ("import pathlib; pathlib.Path('/var/tmp/outside.txt').touch()", "PermissionError"),
        ("import sqlite3; sqlite3.connect('/var/tmp/outside.db')", "PermissionError"),
        ("import os; os.fork()", "PermissionError"),
        ("import os\nwhile True:\n    os.fork()", "PermissionError"),
        (
            "import threading as t, time\nwhile True:\n    t.Thread(target=time.sleep, args=(9,)).start()",
            "RuntimeError",
        ),
        ("blocks = []\nwhile True:\n    blocks.append(bytearray(10**7))", "MemoryError"),
        ("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "PermissionError"),
        ("import socket; socket.getaddrinfo('localhost', 80)", "PermissionError"),
        ("import urllib.request as r; r.urlopen('http://127.0.0.1:1')", "URLError"),
        ("import os; os.system('true')", "PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "PermissionError"),
        ("import multiprocessing as m; m.Process(target=print).start()", "PermissionError"),
        ("import socket; socket.create_connection(('127.0.0.1', 1))", "PermissionError"),
        ("import os; assert 'HOME' not in os.environ and 'PYTHONPATH' not in os.environ; raise KeyError", "KeyError"),
        ("import lsp_server", "ModuleNotFoundError"),
    ],
)
def test_a_program_that_does_not_has_failed(source: str, reason: str) -> None:
    assert run_program(source) == Verdict(False, reason)


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "input_ = [0]\nfor x in input_: input_.append(x) if len(input_) < 9 else [0 for _ in iter(int, 1)]",
    ],
)
def test_a_program_that_never_ends_is_ended(source: str) -> None:
    began = time.monotonic()
    assert run_program(source, limit_s=0.8) == Verdict(False, "timed out")
    assert time.monotonic() - began < 5


def test_nothing_is_left_of_it() -> None:
    before = set(Path(tempfile.gettempdir()).glob("lacuna-bench-*"))
    run_program("open('a', 'w').write('x'); import os; os.mkdir('b'); open('b/c', 'w').write('y')")
    run_program("while True: open('a', 'w').write('x')", limit_s=0.8)
    assert set(Path(tempfile.gettempdir()).glob("lacuna-bench-*")) <= before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


FORGED = """
import os
for descriptor in range(3, 32):
    try:
        os.write(descriptor, b"0" * 32)
    except OSError:
        pass
os._exit(0)
"""


def test_passing_needs_the_password() -> None:
    assert not run_program(FORGED).passed
