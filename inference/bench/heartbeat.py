"""A sign of life for whatever takes longer than two seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PATIENCE_S, INTERVAL_S = 2.0, 10.0


@contextmanager
def heartbeat(doing: str, stream: TextIO | None = None) -> Iterator[None]:
    """While the body runs, say what is being done: after two seconds, and every ten from then on."""
    done, began, out = threading.Event(), time.monotonic(), stream or sys.stderr

    def beat() -> None:
        wait = PATIENCE_S
        while not done.wait(wait):
            print(f"... {doing}, {time.monotonic() - began:.0f} s", file=out, flush=True)
            wait = INTERVAL_S

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
