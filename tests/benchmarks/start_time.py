"""Process start to ``initialize`` answered: ``python -m tests.benchmarks.start_time [RUNS]``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "lsp_server", "serve", "--stdio")
PARAMS = {"processId": None, "rootUri": None, "capabilities": {}}


@dataclass(frozen=True, order=True)
class Start:
    """Seconds until the answer by the clock, and of CPU from start to end, which a busy machine changes less."""

    wall_s: float
    cpu_s: float


def start_once() -> Start:
    """Start ``lacuna serve``, ask ``initialize``, wait for the answer's first header line, end it."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": PARAMS}).encode()
    spent = _children_cpu_s()
    began = time.perf_counter()
    with subprocess.Popen(COMMAND, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin
        assert server.stdout
        server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        server.stdin.flush()
        header = server.stdout.readline()
        wall_s = time.perf_counter() - began
        server.stdin.close()
    assert header.startswith(b"Content-Length")
    return Start(wall_s, _children_cpu_s() - spent)


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    runs = sorted(start_once() for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
    best, median, worst = runs[0], runs[len(runs) // 2], runs[-1]
    print(
        f"wall: best {best.wall_s:.3f} s, median {median.wall_s:.3f} s, worst {worst.wall_s:.3f} s of {len(runs)} runs"
    )
    print(f"CPU: least {min(run.cpu_s for run in runs):.3f} s; load {os.getloadavg()[0]:.1f}")
