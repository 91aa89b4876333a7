"""A model that gives no numbers answers nobody any more."""

import pytest

from inference.errors import EngineError
from inference.protocol import ErrorCode, WorkerState
from tests.support.asker import BACKGROUND, serving
from tests.support.fake_engine import Script, Stage
from tests.support.worker_room import wait_until


def test_a_broken_model_is_put_out_of_use() -> None:
    stage = Stage(Script(steps=5, fail="broken"))
    with serving(stage.engine) as asked:
        stage.plan[1] = lambda: [asked.ask("a"), asked.ask("waiting")]
        asked.ask("idle", priority=BACKGROUND)
        name, outcome = asked.next()
        assert isinstance(outcome, EngineError)
        assert (name, outcome.code) == ("a", ErrorCode.INTERNAL)
        assert "not numbers" in str(outcome)
        assert asked.codes(2) == {"idle": ErrorCode.NOT_READY, "waiting": ErrorCode.NOT_READY}
        health = asked.scheduler.health
        assert health.state is WorkerState.ERROR
        assert "not numbers" in health.message
        assert "lacuna worker stop" in health.message
        with pytest.raises(EngineError, match="not numbers") as refused:
            asked.ask("late")
        assert refused.value.code is ErrorCode.NOT_READY
        wait_until(lambda: stage.engine.closed == 1)
        assert stage.engine.steps_run == 1 + 5


def test_what_was_under_way_with_it_gets_no_garbage() -> None:
    stage = Stage(Script(steps=50, room=4))
    with serving(stage.engine) as asked:

        def join() -> None:
            stage.engine.script = Script(steps=1, room=4, fail="broken")
            asked.ask("broken", document="broken")

        stage.plan[1] = join
        asked.ask("sound", document="sound")
        assert asked.codes(2) == {"broken": ErrorCode.INTERNAL, "sound": ErrorCode.NOT_READY}
        wait_until(lambda: stage.engine.closed == 1)
        assert stage.engine.abandoned == ["sound"]
        assert stage.engine.batches == [["sound"], ["sound", "broken"]]
