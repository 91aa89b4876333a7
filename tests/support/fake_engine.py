"""An engine without a model: it obeys the Protocol and plays a script, counting every step it runs."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from inference.engines.base import Cancelled, EngineError, ReportProgress
from inference.protocol import (
    Choice,
    Draft,
    ErrorCode,
    Fill,
    FinishReason,
    InfillRequest,
    InfillResult,
    Timings,
    Usage,
)

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Script:
    """What the engine does. ``fail`` is an :class:`ErrorCode`, or ``crash`` for an exception nobody foresaw."""

    text: str = "filled"
    steps: int = 3
    step_s: float = 0.0
    load_s: float = 0.0
    fail: str = ""
    fail_load: str = ""


class Gate:
    """Stops the engine within a step until opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, step: int) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)


class FakeEngine:
    """Plays ``script``; its counters tell what happened, and ``on_step`` is told each step's number."""

    name = "local"
    model = "fake-model"
    device = "cpu"

    def __init__(self, script: Script | None = None, on_step: Callable[[int], None] = lambda step: None) -> None:
        self.script = script or Script()
        self.steps_run = 0
        self.documents: list[str | None] = []
        self.threads: set[int] = set()
        self.closed = 0
        self._on_step = on_step

    def load(self, report: ReportProgress) -> None:
        self.threads.add(threading.get_ident())
        until = time.monotonic() + self.script.load_s
        report(0.5, "reading weights")
        while time.monotonic() < until:
            time.sleep(0.01)
            report(0.5, "reading weights")
        if self.script.fail_load == "crash":
            raise RuntimeError("no such device")
        if self.script.fail_load:
            raise EngineError(self.script.fail_load)

    def infill(
        self,
        request: InfillRequest,
        *,
        deadline: float | None,
        cancelled: Callable[[], bool],
        on_draft: Callable[[Draft], None] | None,
    ) -> InfillResult:
        script = self.script
        self.threads.add(threading.get_ident())
        self.documents.append(request.document)
        reason = FinishReason.GAP_END
        for step in range(1, script.steps + 1):
            if cancelled():
                raise Cancelled
            if deadline is not None and time.monotonic() >= deadline:
                reason = FinishReason.DEADLINE
                break
            time.sleep(script.step_s)
            self.steps_run += 1
            self._on_step(self.steps_run)
            if on_draft is not None:
                on_draft(Draft(step, script.steps, (script.text[:step],)))
        if script.fail == "crash":
            raise RuntimeError(f"something about {request.segments}")
        if script.fail:
            raise EngineError("the script says so", ErrorCode(script.fail))
        return InfillResult(
            choices=(Choice((Fill(script.text),), 0.9, reason),),
            usage=Usage(prompt_tokens=1, cached_tokens=0, canvas_tokens=16, denoising_steps=script.steps),
            timings_ms=Timings(queue=0.0, encode=0.0, denoise=0.0, total=0.0),
            model=self.model,
            engine=self.name,
        )

    def close(self) -> None:
        self.closed += 1


class FolderEngine(FakeEngine):
    """A fake engine in another process: its script is ``script.json`` in a folder, its counter the file ``steps``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(read_script(folder), lambda step: _write(folder / "steps", str(step)))
        self._folder = folder

    def infill(
        self,
        request: InfillRequest,
        *,
        deadline: float | None,
        cancelled: Callable[[], bool],
        on_draft: Callable[[Draft], None] | None,
    ) -> InfillResult:
        self.script = read_script(self._folder)
        return super().infill(request, deadline=deadline, cancelled=cancelled, on_draft=on_draft)


def write_script(folder: Path, script: Script) -> None:
    _write(folder / "script.json", json.dumps(vars(script)))


def read_script(folder: Path) -> Script:
    path = folder / "script.json"
    return replace(Script(), **json.loads(path.read_text())) if path.exists() else Script()


def steps_run(folder: Path) -> int:
    path = folder / "steps"
    return int(path.read_text()) if path.exists() else 0


def _write(path: Path, content: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(content)
    draft.replace(path)
