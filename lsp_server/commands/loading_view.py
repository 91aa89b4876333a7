"""A model being loaded, shown on stderr once it takes longer than a moment: a bar, or lines without a terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from inference.protocol import Health

MOMENT_S = 2.0


class LoadingView:
    """A context manager; :meth:`show` may be called as often as one likes."""

    def __init__(self, console: Console | None = None, *, moment_s: float = MOMENT_S) -> None:
        self._console = console or Console(stderr=True)
        self._moment_s = moment_s
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("starting the worker", total=1.0)
        self._shown_at = time.monotonic()
        self._shown = ""

    def __enter__(self) -> LoadingView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bar.live.is_started:  # else it would print an empty line
            self._bar.stop()

    def show(self, health: Health) -> None:
        """Take in the worker's health."""
        message = health.message or f"the worker is {health.state.value}"
        self._bar.update(self._task, completed=health.progress, description=message)
        if time.monotonic() - self._shown_at < self._moment_s:
            return
        if self._console.is_terminal:
            self._bar.start()
        elif (line := f"{health.progress:.0%}, {message}") != self._shown:
            self._console.print(f"lacuna: loading {line}", markup=False, highlight=False, soft_wrap=True)
            self._shown, self._shown_at = line, time.monotonic()
