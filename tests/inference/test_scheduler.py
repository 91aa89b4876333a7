"""The model thread: one outcome for each request, whatever happens. Real threads, a fake engine, no asyncio."""

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from inference.errors import Busy, EngineError
from inference.protocol import Draft, EditRequest, ErrorCode, FinishReason, InfillResult, WorkerState
from inference.scheduler import CAPACITY, CAPACITY_PER_CLIENT, Scheduler
from tests.support.asker import LIMIT_S, Asker, asker, serving
from tests.support.fake_engine import FakeEngine, Gate, Script
from tests.support.worker_room import wait_until


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def engine(gate: Gate) -> FakeEngine:
    return FakeEngine(Script(steps=100), on_step=gate)


@pytest.fixture
def gated(engine: FakeEngine) -> Iterator[Asker]:
    yield from asker(engine, capacity=2)


@pytest.fixture
def free() -> Iterator[Asker]:
    yield from asker(FakeEngine())


def test_it_fills_and_times(free: Asker) -> None:
    free.ask("a")
    _, result = free.next()
    assert isinstance(result, InfillResult)
    assert result.choices[0].fills[0].text == "filled"
    assert result.timings_ms.total >= result.timings_ms.queue > 0


def test_the_queue_time_is_told(gated: Asker, gate: Gate, engine: FakeEngine) -> None:
    gated.ask("first")
    assert gate.reached.wait(LIMIT_S)
    gated.ask("second")
    time.sleep(0.05)
    gate.opened.set()
    results = dict([gated.next(), gated.next()])
    assert isinstance(results["second"], InfillResult)
    assert results["second"].timings_ms.queue >= 50


def test_one_thread_loads_fills_and_closes() -> None:
    engine = FakeEngine()
    closers: list[int] = []
    engine.close = lambda: closers.append(threading.get_ident())  # type: ignore[method-assign]
    with serving(engine) as asked:
        asked.ask("a")
        asked.next()
    assert engine.threads == set(closers)
    assert threading.get_ident() not in engine.threads


def test_a_newer_request_supersedes_the_running_one_within_a_step(gated: Asker, gate: Gate, engine: FakeEngine) -> None:
    gated.ask("older", document="d")
    assert gate.reached.wait(LIMIT_S)
    gated.ask("newer", document="d")
    assert gated.next_code() == ("older", ErrorCode.SUPERSEDED)  # answered before the step has even ended
    gate.opened.set()
    assert gated.next_code() == ("newer", None)
    assert engine.steps_run == 1 + 100


def test_a_newer_request_supersedes_a_waiting_one(gated: Asker, gate: Gate, engine: FakeEngine) -> None:
    gated.ask("running")
    assert gate.reached.wait(LIMIT_S)
    gated.ask("older", document="d")
    gated.ask("newer", document="d")
    assert gated.next_code() == ("older", ErrorCode.SUPERSEDED)
    gate.opened.set()
    assert [gated.next_code(), gated.next_code()] == [("running", None), ("newer", None)]
    assert engine.documents == [None, "d"]


def test_cancelling_ends_the_running_one_within_a_step(gated: Asker, gate: Gate, engine: FakeEngine) -> None:
    job = gated.ask("a")
    assert gate.reached.wait(LIMIT_S)
    gated.scheduler.cancel(job)
    assert gated.next_code() == ("a", ErrorCode.CANCELLED)
    gate.opened.set()
    gated.ask("b")
    assert gated.next_code() == ("b", None)
    assert engine.steps_run == 1 + 100


def test_cancelling_a_waiting_one_frees_its_place(gated: Asker, gate: Gate, engine: FakeEngine) -> None:
    gated.ask("running")
    assert gate.reached.wait(LIMIT_S)
    waiting = [gated.ask("b", document="b"), gated.ask("c")]
    with pytest.raises(EngineError) as full:
        gated.ask("d")
    assert full.value.code is ErrorCode.QUEUE_FULL
    gated.scheduler.cancel(waiting[0])
    gated.ask("e")
    gate.opened.set()
    assert [gated.next_code()[0] for _ in range(4)] == ["b", "running", "c", "e"]
    assert "b" not in engine.documents


def test_a_deadline_that_passes_in_the_queue_is_answered(gated: Asker, gate: Gate, engine: FakeEngine) -> None:
    gated.ask("running")
    assert gate.reached.wait(LIMIT_S)
    job = gated.ask("late", document="late", deadline_ms=1)
    wait_until(lambda: time.monotonic() > (job.deadline or 0))
    gated.scheduler.expire()
    assert gated.next_code() == ("late", ErrorCode.QUEUE_FULL)
    gate.opened.set()
    assert gated.next_code() == ("running", None)
    assert "late" not in engine.documents


def test_queued_time_counts_against_the_deadline(gated: Asker, gate: Gate, engine: FakeEngine) -> None:
    job = gated.ask("a", deadline_ms=200)
    assert gate.reached.wait(LIMIT_S)
    assert job.deadline is not None
    assert job.deadline - job.arrived == pytest.approx(0.2)
    wait_until(lambda: time.monotonic() > (job.deadline or 0))
    gate.opened.set()
    _, result = gated.next()
    assert isinstance(result, InfillResult)
    assert result.choices[0].finish_reason is FinishReason.DEADLINE


def test_a_full_queue_says_how_long_it_is() -> None:
    hold = Gate()
    engine = FakeEngine(Script(steps=1, step_s=0.4, room=2), on_step=lambda step: step > 1 and hold(step))
    with serving(engine, capacity=16) as asked:
        asked.ask("measured")
        asked.next()
        asked.ask("running")
        assert hold.reached.wait(LIMIT_S)
        for number in range(16):
            asked.ask(str(number), client=str(number % 2))
        with pytest.raises(Busy, match="16 requests are waiting already; try again in") as full:
            asked.ask("late")
        assert 4 <= full.value.retry_after_s <= 8  # 16 waiting, two side by side, 0.4 s each and some noise
        hold.opened.set()


def test_a_window_that_asks_too_much_is_refused_and_another_is_not(gate: Gate) -> None:
    with serving(FakeEngine(Script(steps=1), on_step=gate), capacity=CAPACITY) as asked:
        asked.ask("running", client="greedy")
        assert gate.reached.wait(LIMIT_S)
        for number in range(CAPACITY_PER_CLIENT):
            asked.ask(str(number), client="greedy")
        for _ in range(200):
            with pytest.raises(Busy, match="16 requests of this window are waiting already; try again in 1 s"):
                asked.ask("one more", client="greedy")
        asked.ask("modest", client="modest")
        gate.opened.set()
        names = [asked.next_code() for _ in range(3)]
    assert names == [("running", None), ("modest", None), ("0", None)]


def test_an_engine_error_is_the_outcome() -> None:
    with serving(FakeEngine(Script(fail="out_of_memory"))) as asked:
        asked.ask("a")
        assert asked.next_code() == ("a", ErrorCode.OUT_OF_MEMORY)


@pytest.mark.parametrize("instructions", [False, True])
def test_an_instruction_needs_a_model_that_takes_it(instructions: bool) -> None:
    with serving(FakeEngine(Script(instructions=instructions))) as asked:
        assert asked.scheduler.health.instructions is instructions
        asked.ask_for("without", EditRequest(selection="a"))
        assert asked.next_code() == ("without", None)
        if instructions:
            asked.ask_for("with", EditRequest(selection="a", instruction="shorter"))
            assert asked.next_code() == ("with", None)
        else:
            with pytest.raises(EngineError, match="fake-model takes no instructions; leave 'instruction' empty") as no:
                asked.ask_for("with", EditRequest(selection="a", instruction="shorter"))
            assert no.value.code is ErrorCode.BAD_REQUEST


def test_what_failed_is_logged_without_the_buffer(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serving(FakeEngine(Script(fail="crash"))) as asked:
        asked.ask("a")
        asked.next()
    assert "RuntimeError" in caplog.text
    assert "fake_engine.py" in caplog.text
    assert "buffer words" not in caplog.text


def test_drafts_are_passed_on_until_the_outcome() -> None:
    drafts: list[Draft] = []
    with serving(FakeEngine(Script(steps=3))) as asked:
        asked.ask("a", on_draft=drafts.append)
        asked.next()
    assert [draft.step for draft in drafts] == [1, 2, 3]


def test_health_follows_the_loading() -> None:
    scheduler = Scheduler(lambda: FakeEngine(Script(load_s=0.2)), model="m", engine="local")
    assert scheduler.health.state is WorkerState.STARTING
    scheduler.start()
    wait_until(lambda: scheduler.health.message == "reading weights")
    assert (scheduler.health.state, scheduler.health.progress) == (WorkerState.LOADING, 0.5)
    with pytest.raises(EngineError, match="reading weights") as refused:
        Asker(scheduler).ask("a")
    assert refused.value.code is ErrorCode.NOT_READY
    wait_until(lambda: scheduler.health.state is WorkerState.READY)
    assert (scheduler.health.model, scheduler.health.device) == ("fake-model", "cpu")
    assert scheduler.close(LIMIT_S)


@pytest.mark.parametrize(("failure", "told"), [("no weights in m", "no weights in m"), ("crash", "no such device")])
def test_a_model_that_cannot_be_loaded_is_told(failure: str, told: str) -> None:
    with serving(FakeEngine(Script(fail_load=failure))) as asked:
        assert asked.scheduler.health.state is WorkerState.ERROR
        assert told in asked.scheduler.health.message
        with pytest.raises(EngineError, match=told):
            asked.ask("a")


def test_a_fault_of_the_thread_itself_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(FakeEngine):
        @property
        def room(self) -> int:
            if self.documents:
                raise RuntimeError(f"about {self.documents}")
            return 1

    engine = Odd()
    with serving(engine) as asked:
        asked.ask("a", document="a secret")
        asked.ask("b", document="another secret")
        assert ErrorCode.NOT_READY in asked.codes(2).values()
        wait_until(lambda: engine.closed == 1)
        assert asked.scheduler.health.state is WorkerState.ERROR
        with pytest.raises(EngineError, match="its log says where"):
            asked.ask("c")
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_loading_is_given_up_when_the_worker_leaves() -> None:
    scheduler = Scheduler(lambda: FakeEngine(Script(load_s=LIMIT_S)), model="m", engine="local")
    scheduler.start()
    wait_until(lambda: scheduler.health.message == "reading weights")
    assert scheduler.close(LIMIT_S / 2)


def test_leaving_answers_everybody(gated: Asker, gate: Gate, engine: FakeEngine) -> None:
    gated.ask("running")
    assert gate.reached.wait(LIMIT_S)
    gated.ask("waiting")
    assert not gated.scheduler.close(0.0)
    assert {gated.next_code(), gated.next_code()} == {
        ("running", ErrorCode.NOT_READY),
        ("waiting", ErrorCode.NOT_READY),
    }
    gate.opened.set()
    assert gated.scheduler.close(LIMIT_S)
    assert engine.closed == 1
    with pytest.raises(EngineError, match="leaving"):
        gated.ask("late")


def test_idle_time_counts_only_without_work(gated: Asker, gate: Gate) -> None:
    gated.ask("a")
    assert gate.reached.wait(LIMIT_S)
    assert gated.scheduler.idle_seconds() == 0.0
    gate.opened.set()
    gated.next()
    wait_until(lambda: gated.scheduler.idle_seconds() > 0)


def test_two_hundred_at_once_from_many_threads_are_all_answered_once() -> None:
    with serving(FakeEngine(Script(steps=2))) as asked:

        def ask(number: int) -> None:
            try:
                asked.ask(str(number), document=f"d{number % 40}")
            except EngineError as error:
                asked.outcomes.put((str(number), error))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        answered = dict(asked.next() for _ in range(200))
        assert len(answered) == 200
        codes = {outcome.code for outcome in answered.values() if isinstance(outcome, EngineError)}
        assert codes <= {ErrorCode.SUPERSEDED, ErrorCode.QUEUE_FULL}
