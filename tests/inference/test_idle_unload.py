"""An idle engine sleeps and is woken by the next request."""

import time
from collections.abc import Iterator

import pytest

from inference.errors import EngineError
from inference.protocol import ErrorCode, WorkerState
from tests.support.asker import Asker, asker, serving
from tests.support.fake_engine import FakeEngine, Script
from tests.support.worker_room import wait_until


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(Script())


@pytest.fixture
def sleepy(engine: FakeEngine) -> Iterator[Asker]:
    yield from asker(engine, unload_after_s=0.05)


def fall_asleep(asked: Asker, engine: FakeEngine) -> None:
    wait_until(lambda: not engine.loaded and "sleeps" in asked.scheduler.health.message)


def test_it_sleeps_after_a_while_and_wakes_for_a_request(sleepy: Asker, engine: FakeEngine) -> None:
    for times in (1, 2, 3):
        fall_asleep(sleepy, engine)
        assert sleepy.scheduler.health.state is WorkerState.READY
        assert sleepy.scheduler.idle_seconds() > 0
        assert (engine.loads, engine.unloads) == (times, times)
        sleepy.ask("a")
        assert sleepy.next_code() == ("a", None)
        assert engine.loads == times + 1


def test_it_sleeps_once_and_stays_asleep(sleepy: Asker, engine: FakeEngine) -> None:
    fall_asleep(sleepy, engine)
    time.sleep(0.2)
    assert (engine.loads, engine.unloads) == (1, 1)


def test_zero_never_unloads() -> None:
    engine = FakeEngine()
    with serving(engine, unload_after_s=0.0) as asked:
        asked.ask("a")
        asked.next()
        time.sleep(0.2)
    assert engine.unloads == 0


def test_it_does_not_sleep_while_there_is_work() -> None:
    engine = FakeEngine(Script(steps=10, step_s=0.03))
    with serving(engine, unload_after_s=0.05) as asked:
        asked.ask("a")
        asked.ask("b")
        assert asked.codes(2) == {"a": None, "b": None}
        assert engine.loads == 1 + engine.unloads <= 2  # it may sleep before the first and after the last
        assert engine.begun == ["", ""]


def test_a_deadline_passes_while_it_wakes_and_the_loading_goes_on(sleepy: Asker, engine: FakeEngine) -> None:
    fall_asleep(sleepy, engine)
    engine.script = Script(load_s=0.4)
    job = sleepy.ask("hasty", deadline_ms=20)
    wait_until(lambda: "wakes" in sleepy.scheduler.health.message)
    assert sleepy.scheduler.health.state is WorkerState.READY  # requests are taken on
    sleepy.ask("patient")
    wait_until(lambda: time.monotonic() > (job.deadline or 0))
    sleepy.scheduler.expire()  # as the application does when a deadline passes
    assert sleepy.next_code() == ("hasty", ErrorCode.QUEUE_FULL)
    assert not engine.loaded
    assert sleepy.next_code() == ("patient", None)
    assert engine.begun == [""]


def test_without_memory_to_wake_the_request_is_told_and_the_next_tries_again(sleepy: Asker, engine: FakeEngine) -> None:
    fall_asleep(sleepy, engine)
    engine.script = Script(fail_load="memory")
    for _ in range(2):
        sleepy.ask("a")
        assert sleepy.next_code() == ("a", ErrorCode.OUT_OF_MEMORY)
        assert sleepy.scheduler.health.state is WorkerState.READY
    engine.script = Script()
    sleepy.ask("b")
    assert sleepy.next_code() == ("b", None)


@pytest.mark.parametrize(
    ("failure", "told"), [("the weights are gone", "the weights are gone"), ("crash", "no such device")]
)
def test_what_cannot_be_loaded_again_is_out_of_use(failure: str, told: str) -> None:
    engine = FakeEngine()
    with serving(engine, unload_after_s=0.05) as asked:
        fall_asleep(asked, engine)
        engine.script = Script(fail_load=failure)
        asked.ask("a")
        name, outcome = asked.next()
        assert isinstance(outcome, EngineError)
        assert (name, outcome.code) == ("a", ErrorCode.NOT_READY)
        assert told in str(outcome)
        wait_until(lambda: asked.scheduler.health.state is WorkerState.ERROR)
        with pytest.raises(EngineError, match=told):
            asked.ask("b")


def test_an_unload_that_fails_is_logged_and_the_next_request_loads(
    sleepy: Asker, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        engine.loaded = False
        raise RuntimeError("no")

    engine.unload = fail  # type: ignore[method-assign]
    fall_asleep(sleepy, engine)
    sleepy.ask("a")
    assert sleepy.next_code() == ("a", None)
    assert "unloading failed" in caplog.text


def test_leaving_gives_the_waking_up(sleepy: Asker, engine: FakeEngine) -> None:
    fall_asleep(sleepy, engine)
    engine.script = Script(load_s=60.0)
    sleepy.ask("a")
    wait_until(lambda: "wakes" in sleepy.scheduler.health.message)
    assert sleepy.scheduler.close(10.0)
    assert sleepy.next_code() == ("a", ErrorCode.NOT_READY)
