"""How far a benchmark is: a bar on a terminal; elsewhere a line after two seconds, and one now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

QUIET_S = 2.0
LINE_S = 15.0

Advance = Callable[[str], None]
"""One more is done; what the bar is now called, the same as before if empty."""


@contextmanager
def progress(name: str, total: int, console: Console | None = None) -> Iterator[Advance]:
    """Show on stderr, or on ``console``, how many of ``total`` are done."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _lines(name, total, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda description: bar.update(task, advance=1, description=description or None)


def _lines(name: str, total: int, console: Console) -> Advance:
    done, due = 0, time.monotonic() + QUIET_S

    def advance(description: str) -> None:
        nonlocal done, due, name
        done, name = done + 1, description or name
        if time.monotonic() >= due and done < total:
            console.print(f"{name}: {done} of {total}", highlight=False, soft_wrap=True)
            due = time.monotonic() + LINE_S

    return advance
