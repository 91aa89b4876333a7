"""An engine without a model: it obeys the Protocol and plays a script, step by step, counting all it does."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference.engines.base import EngineError, Filling, ModelBroken, ReportProgress
from inference.job import Outcome, Request
from inference.protocol import Choice, Draft, ErrorCode, Fill, FinishReason, InfillResult, Timings, Usage

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Script:
    """What the engine does.

    ``fail`` is how a filling ends after its last step: an :class:`ErrorCode`, ``broken`` for a model without numbers,
    ``crash`` for an exception nobody foresaw. ``fail_load`` is a sentence, ``crash`` or ``memory``.
    """

    text: str = "filled"
    steps: int = 3
    step_s: float = 0.0
    room: int = 1
    instructions: bool = False
    finish: str = "gap_end"
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


@dataclass(eq=False)
class FakeFilling:
    request: Request
    script: Script
    deadline: float | None
    on_draft: Callable[[Draft], None] | None
    step: int = 0
    outcome: Outcome | None = field(default=None)

    @property
    def name(self) -> str:
        """What the tests tell requests apart by: the document, else the window."""
        return self.request.document or self.request.client or ""


class FakeEngine:
    """Plays ``script``; its counters tell what happened, and ``on_step`` is told the number of each filling's step.

    ``batches`` names the fillings of every call of :meth:`advance`; ``under_way`` are those begun and not ended.
    """

    name = "local"
    model = "fake-model"
    device = "cpu"

    def __init__(self, script: Script | None = None, on_step: Callable[[int], None] = lambda step: None) -> None:
        self.script = script or Script()
        self.steps_run = 0
        self.batches: list[list[str]] = []
        self.begun: list[str] = []
        self.abandoned: list[str] = []
        self.under_way: list[FakeFilling] = []
        self.documents: list[str | None] = []
        self.threads: set[int] = set()
        self.loads = self.unloads = self.closed = 0
        self.loaded = False
        self._on_step = on_step

    @property
    def takes_instructions(self) -> bool:
        return self.script.instructions

    @property
    def room(self) -> int:
        return self.script.room

    def load(self, report: ReportProgress) -> None:
        self.threads.add(threading.get_ident())
        self.loads += 1
        until = time.monotonic() + self.script.load_s
        report(0.5, "reading weights")
        while time.monotonic() < until:
            time.sleep(0.01)
            report(0.5, "reading weights")
        if self.script.fail_load == "crash":
            raise RuntimeError("no such device")
        if self.script.fail_load == "memory":
            raise MemoryError
        if self.script.fail_load:
            raise EngineError(self.script.fail_load)
        self.loaded = True

    def unload(self) -> None:
        assert not self.under_way, "unloaded while something is under way"
        self.unloads += 1
        self.loaded = False

    def begin(
        self, request: Request, *, deadline: float | None, on_draft: Callable[[Draft], None] | None
    ) -> FakeFilling:
        assert self.loaded
        self.threads.add(threading.get_ident())
        filling = FakeFilling(request, self.script, deadline, on_draft)
        self.documents.append(request.document)
        self.begun.append(filling.name)
        self.under_way.append(filling)
        return filling

    def advance(self, fillings: Sequence[Filling]) -> None:
        playing = [filling for filling in fillings if isinstance(filling, FakeFilling)]
        assert len(playing) == len(fillings) > 0
        assert self.loaded
        assert len(playing) <= self.room
        assert set(playing) <= set(self.under_way), "advanced although ended"
        self.batches.append([filling.name for filling in playing])
        time.sleep(max(filling.script.step_s for filling in playing))
        for filling in playing:
            self._advance(filling)

    def abandon(self, filling: Filling) -> None:
        assert isinstance(filling, FakeFilling)
        assert filling.outcome is None
        self.under_way.remove(filling)
        self.abandoned.append(filling.name)

    def close(self) -> None:
        self.closed += 1

    def _advance(self, filling: FakeFilling) -> None:
        script = filling.script
        late = filling.deadline is not None and time.monotonic() >= filling.deadline
        if not late:
            self.steps_run += 1
            filling.step += 1
            self._on_step(self.steps_run)
            if filling.on_draft is not None:
                filling.on_draft(Draft(filling.step, script.steps, (script.text[: filling.step],)))
        if late or filling.step == script.steps:
            filling.outcome = self._outcome(filling, FinishReason.DEADLINE if late else FinishReason(script.finish))
            self.under_way.remove(filling)

    def _outcome(self, filling: FakeFilling, reason: FinishReason) -> Outcome:
        script = filling.script
        if script.fail == "crash":
            raise RuntimeError(f"something about {filling.request}")
        if script.fail == "broken":
            return ModelBroken("the model's logits are not numbers")
        if script.fail:
            return EngineError("the script says so", ErrorCode(script.fail))
        return InfillResult(
            choices=(Choice((Fill(script.text),), 0.9, reason),),
            usage=Usage(prompt_tokens=1, cached_tokens=0, canvas_tokens=16, denoising_steps=filling.step),
            timings_ms=Timings(queue=0.0, encode=0.0, denoise=0.0, total=0.0),
            model=self.model,
            engine=self.name,
        )


class Stage:
    """An engine whose steps do as planned: ``plan[n]`` is called in the nth call of ``advance``."""

    def __init__(self, script: Script) -> None:
        self.plan: dict[int, Callable[[], object]] = {}
        self.engine = FakeEngine(script, on_step=self._on_step)

    def _on_step(self, step: int) -> None:
        if action := self.plan.pop(len(self.engine.batches), None):
            action()


class FolderEngine(FakeEngine):
    """A fake engine in another process: its script is ``script.json`` in a folder, its counters files beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(read_script(folder), lambda step: _write(folder / "steps", str(step)))
        self._folder = folder

    def load(self, report: ReportProgress) -> None:
        self.script = read_script(self._folder)
        super().load(report)

    def begin(
        self, request: Request, *, deadline: float | None, on_draft: Callable[[Draft], None] | None
    ) -> FakeFilling:
        self.script = replace(read_script(self._folder), room=self.script.room)
        filling = super().begin(request, deadline=deadline, on_draft=on_draft)
        _write(self._folder / "begun", json.dumps(self.begun))
        return filling

    def abandon(self, filling: Filling) -> None:
        super().abandon(filling)
        _write(self._folder / "abandoned", json.dumps(self.abandoned))


def write_script(folder: Path, script: Script) -> None:
    _write(folder / "script.json", json.dumps(vars(script)))


def read_script(folder: Path) -> Script:
    path = folder / "script.json"
    return replace(Script(), **json.loads(path.read_text())) if path.exists() else Script()


def steps_run(folder: Path) -> int:
    path = folder / "steps"
    return int(path.read_text()) if path.exists() else 0


def names_in(folder: Path, file: str) -> list[str]:
    """The names of the fillings ``begun`` or ``abandoned`` by the engine of a folder."""
    path = folder / file
    names: list[str] = json.loads(path.read_text()) if path.exists() else []
    return names


def _write(path: Path, content: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(content)
    draft.replace(path)
