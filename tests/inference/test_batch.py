"""Requests side by side, step by step: what a batch does with an engine, and what the scheduler takes into it."""

import time
from collections.abc import Callable, Sequence

import pytest

from inference.batch import Batch
from inference.engines.base import Filling
from inference.errors import EngineError, ModelBroken
from inference.job import Job, Outcome
from inference.metrics import Metrics
from inference.protocol import ErrorCode, FinishReason, InfillRequest, InfillResult, Masked, Priority
from tests.support.asker import BACKGROUND, Asker, serving
from tests.support.fake_engine import FakeEngine, Script, Stage


class Table:
    """A batch and a loaded engine on this thread; every job is called by its document's name."""

    def __init__(self, script: Script, engine: FakeEngine | None = None) -> None:
        self.engine = engine or FakeEngine()
        self.engine.script = script
        self.engine.load(lambda progress, message: None)
        self.batch = Batch(Metrics())
        self.outcomes: dict[str, Outcome] = {}

    def add(self, name: str, priority: Priority = Priority.INTERACTIVE) -> Job:
        request = InfillRequest(segments=(Masked(8),), document=name, priority=priority)
        job = Job(request, now=time.monotonic(), on_outcome=lambda outcome: self.outcomes.update({name: outcome}))
        self.batch.add(job)
        return job

    def advance(self, times: int = 1) -> list[list[str]]:
        """The batches that the engine saw meanwhile."""
        before = len(self.engine.batches)
        for _ in range(times):
            self.batch.advance(self.engine)
        return self.engine.batches[before:]

    def code(self, name: str) -> ErrorCode | None:
        outcome = self.outcomes[name]
        return outcome.code if isinstance(outcome, EngineError) else None


def test_they_advance_side_by_side_join_late_and_leave_when_done() -> None:
    table = Table(Script(steps=3, room=4))
    for name in "abc":
        table.add(name)
    assert table.advance(2) == [["a", "b", "c"]] * 2
    table.add("d")
    assert table.advance(3) == [["a", "b", "c", "d"], ["d"], ["d"]]
    assert set(table.outcomes) == set("abcd")
    assert all(isinstance(outcome, InfillResult) for outcome in table.outcomes.values())
    assert table.batch.jobs == ()
    assert table.engine.abandoned == []


def test_one_given_up_leaves_before_the_next_step() -> None:
    table = Table(Script(steps=9, room=4))
    jobs = {name: table.add(name) for name in "abc"}
    table.advance()
    jobs["b"].settle(EngineError("gone", ErrorCode.CANCELLED))
    assert table.advance() == [["a", "c"]]
    assert table.engine.abandoned == ["b"]


def test_one_given_up_before_it_began_is_never_begun() -> None:
    table = Table(Script(room=4))
    table.add("a").settle(EngineError("gone", ErrorCode.CANCELLED))
    assert table.advance() == []
    assert (table.engine.begun, table.engine.abandoned, table.batch.jobs) == ([], [], ())


def test_background_work_stands_still_while_interactive_work_is_under_way() -> None:
    table = Table(Script(steps=4, room=4))
    table.add("idle", BACKGROUND)
    assert table.advance(2) == [["idle"]] * 2
    table.add("key")
    assert table.advance(4) == [["key"]] * 4
    assert table.advance(2) == [["idle"]] * 2
    assert isinstance(table.outcomes["idle"], InfillResult)
    assert table.engine.begun == ["idle", "key"]  # it went on where it had stood


def test_background_work_gets_its_deadline_even_while_it_stands_still() -> None:
    table = Table(Script(steps=9, room=2))
    idle = table.add("idle", BACKGROUND)
    table.advance(3)
    table.add("key")
    assert table.advance() == [["key"]]
    idle.deadline = time.monotonic() - 1
    table.engine.under_way[0].deadline = idle.deadline
    assert table.advance(2) == [["key", "idle"], ["key"]]
    outcome = table.outcomes["idle"]
    assert isinstance(outcome, InfillResult)
    assert (outcome.choices[0].finish_reason, outcome.usage.denoising_steps) == (FinishReason.DEADLINE, 3)


def test_late_background_work_takes_no_interactive_place() -> None:
    table = Table(Script(steps=2, room=1))
    table.add("idle", BACKGROUND).deadline = time.monotonic() - 1
    table.advance()
    table.add("idle too", BACKGROUND).deadline = time.monotonic() - 1
    table.add("key")
    assert table.advance(3) == [["key"], ["key"], ["idle too"]]


def test_background_work_given_up_while_it_stands_still_is_abandoned_at_once() -> None:
    table = Table(Script(steps=9, room=4))
    idle = table.add("idle", BACKGROUND)
    table.advance()
    table.add("key")
    idle.settle(EngineError("gone", ErrorCode.CANCELLED))
    table.advance()
    assert table.engine.abandoned == ["idle"]


@pytest.mark.parametrize("code", [ErrorCode.BAD_REQUEST, ErrorCode.OUT_OF_MEMORY])
def test_what_begin_raises_is_the_outcome_and_the_others_go_on(code: ErrorCode) -> None:
    table = Table(Script(steps=1, room=4))
    refuse_to_begin(table.engine, "b", EngineError("not this one", code))
    for name in "abc":
        table.add(name)
    assert table.advance() == [["a", "c"]]
    assert [table.code(name) for name in "abc"] == [None, code, None]


def refuse_to_begin(engine: FakeEngine, name: str, error: BaseException) -> None:
    begin = engine.begin

    def choosy(request: InfillRequest, **options: object) -> Filling:
        if request.document == name:
            raise error
        return begin(request, **options)  # type: ignore[arg-type]

    engine.begin = choosy  # type: ignore[method-assign,assignment]


def test_a_filling_that_fails_does_not_touch_the_others() -> None:
    table = Table(Script(steps=2, room=4))
    table.add("a")
    table.advance()
    table.engine.script = Script(steps=1, room=4, fail="out_of_memory")
    table.add("b")
    table.advance()
    assert isinstance(table.outcomes["a"], InfillResult)
    assert table.code("b") is ErrorCode.OUT_OF_MEMORY


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (RuntimeError("text"), ErrorCode.INTERNAL),
        (SystemExit("text"), ErrorCode.INTERNAL),
        (KeyboardInterrupt("text"), ErrorCode.INTERNAL),
        (GeneratorExit("text"), ErrorCode.INTERNAL),
        (MemoryError("text"), ErrorCode.OUT_OF_MEMORY),
        (OutOfMemoryError("text"), ErrorCode.OUT_OF_MEMORY),
        (EngineError("no device", ErrorCode.NOT_READY), ErrorCode.NOT_READY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
@pytest.mark.parametrize("at", ["begin", "advance"])
def test_whatever_the_engine_raises_it_is_an_outcome_and_the_next_is_served(
    raised: BaseException, code: ErrorCode, at: str
) -> None:
    table = Table(Script(steps=3, room=4))
    table.add("idle", BACKGROUND)
    table.advance()
    sound = getattr(table.engine, at)
    setattr(table.engine, at, raising(raised))
    table.add("a")
    table.add("b")
    table.advance()
    assert [table.code(name) for name in "ab"] == [code, code]
    assert "text" not in str(table.outcomes["a"])
    assert table.engine.abandoned == ([] if at == "begin" else ["a", "b"])
    setattr(table.engine, at, sound)
    table.add("c")
    table.advance(6)
    assert [table.code(name) for name in ("c", "idle")] == [None, None]


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*args: object, **options: object) -> None:
        raise error

    return fail


def test_an_abandon_that_fails_costs_nobody_else_anything() -> None:
    table = Table(Script(steps=2, room=4))
    gone = table.add("gone")
    table.add("a")
    table.advance()
    table.engine.abandon = raising(RuntimeError("no"))  # type: ignore[method-assign]
    gone.settle(EngineError("gone", ErrorCode.CANCELLED))
    assert table.advance() == [["a"]]
    assert isinstance(table.outcomes["a"], InfillResult)


@pytest.mark.parametrize("how", ["outcome", "advance", "begin"])
def test_a_broken_model_is_told_to_whom_it_met_and_raised_on(how: str) -> None:
    table = Table(Script(steps=1, room=4, fail="broken" if how == "outcome" else ""))
    if how != "outcome":
        setattr(table.engine, how, raising(ModelBroken("no numbers")))
    table.add("a")
    with pytest.raises(ModelBroken):
        table.advance()
    assert isinstance(table.outcomes["a"], ModelBroken)


def test_the_pace_counts_steps_and_not_standing_still() -> None:
    table = Table(Script(steps=2, step_s=0.01, room=4))
    table.add("idle", BACKGROUND)
    table.advance()
    table.engine.script = Script(steps=20, step_s=0.01, room=4)
    for name in "ab":
        table.add(name)
    table.advance(20)
    together = table.batch.request_s
    assert together >= 0.2
    table.advance()
    assert isinstance(table.outcomes["idle"], InfillResult)
    assert table.batch.request_s < together


def test_clearing_abandons_every_filling() -> None:
    table = Table(Script(steps=9, room=4))
    for name in "ab":
        table.add(name)
    table.advance()
    table.batch.clear(table.engine)
    assert (table.engine.abandoned, table.batch.jobs) == (["a", "b"], ())


# --- with the scheduler's thread: what happens in a step is done from within it ---------------------------------------


def ask_all(asked: Asker, names: Sequence[str], **options: object) -> None:
    for name in names:
        asked.ask(name, document=name, client=f"window of {name}", **options)


def test_windows_share_one_batch_and_cost_no_more_steps_than_one() -> None:
    stage = Stage(Script(steps=6, room=4))
    with serving(stage.engine) as asked:
        stage.plan[1] = lambda: ask_all(asked, "bc")
        stage.plan[3] = lambda: ask_all(asked, "d")
        asked.ask("a", document="a", client="window of a")
        assert asked.codes(4) == dict.fromkeys("abcd")
    assert stage.engine.batches == [
        ["a"],
        *[["a", "b", "c"]] * 2,
        *[["a", "b", "c", "d"]] * 3,
        ["b", "c", "d"],
        *[["d"]] * 2,
    ]


def test_the_batch_never_outgrows_the_engines_room() -> None:
    stage = Stage(Script(steps=2, room=3))
    with serving(stage.engine) as asked:
        stage.plan[1] = lambda: ask_all(asked, "bcdefg")
        asked.ask("a", document="a")
        assert asked.codes(7) == dict.fromkeys("abcdefg")
    assert max(map(len, stage.engine.batches)) == 3


def test_cancelling_and_superseding_free_a_place_within_a_step() -> None:
    stage = Stage(Script(steps=20, room=2))
    with serving(stage.engine) as asked:
        a = asked.ask("a", document="a")
        stage.plan[2] = lambda: ask_all(asked, "bc")
        stage.plan[5] = lambda: asked.scheduler.cancel(a)
        stage.plan[9] = lambda: asked.ask("newer b", document="b")
        assert asked.codes(4) == {
            "a": ErrorCode.CANCELLED,
            "b": ErrorCode.SUPERSEDED,
            "c": None,
            "newer b": None,
        }
    batches = stage.engine.batches
    assert batches[2:5] == [["a", "b"]] * 3
    assert batches[5:9] == [["b", "c"]] * 4
    assert batches[9] == ["c", "b"]
    assert stage.engine.abandoned == ["a", "b"]


def test_background_work_waits_for_all_interactive_work_and_then_goes_on() -> None:
    stage = Stage(Script(steps=4, room=1))
    with serving(stage.engine) as asked:
        stage.plan[2] = lambda: ask_all(asked, ["x", "y"])
        asked.ask("idle", document="idle", priority=BACKGROUND)
        asked.ask("idle too", document="idle too", priority=BACKGROUND)
        assert [asked.next_code()[0] for _ in range(4)] == ["x", "y", "idle", "idle too"]
    assert stage.engine.begun == ["idle", "x", "y", "idle too"]
    assert stage.engine.batches == [
        *[["idle"]] * 2,
        *[["x"]] * 4,
        *[["y"]] * 4,
        *[["idle"]] * 2,
        *[["idle too"]] * 4,
    ]


def test_one_window_with_sixteen_waiting_delays_another_by_one_turn() -> None:
    stage = Stage(Script(steps=2, room=1))

    def flood(asked: Asker) -> None:
        for number in range(16):
            asked.ask(str(number), client="busy")

    with serving(stage.engine, capacity=64) as asked:
        stage.plan[1] = lambda: flood(asked)
        stage.plan[10] = lambda: asked.ask("single", client="other")
        asked.ask("first", client="busy")
        names = [asked.next_code()[0] for _ in range(18)]
    assert names.index("single") == 5  # asked in the last step of the fifth
    assert stage.engine.begun[5] == "other"
