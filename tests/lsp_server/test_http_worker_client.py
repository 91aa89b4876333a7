"""The client against real workers: starting, streaming, cancelling, dying, coming back."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from inference.protocol import (
    Draft,
    EditRequest,
    ErrorCode,
    Fixed,
    Health,
    InfillRequest,
    InfillResult,
    Masked,
    WorkerState,
)
from inference.scheduler import CAPACITY_PER_CLIENT
from lsp_server.http_worker_client import HttpWorkerClient
from lsp_server.lifecycle import WorkerSpec, find_worker
from lsp_server.worker_client import WorkerClient, WorkerError, WorkerUnavailable
from tests.support.fake_engine import Script, names_in
from tests.support.worker_room import FAKE_WORKER, PATIENCE_S, WorkerRoom, alive, is_gone, room_in, wait_until

ENDLESS = Script(steps=100_000, step_s=0.05)


def gap(document: str | None = None, deadline_ms: int | None = None) -> InfillRequest:
    return InfillRequest(segments=(Fixed("a"), Masked(8)), document=document, deadline_ms=deadline_ms)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


class Follower:
    """A client, and every health that it told."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.client = HttpWorkerClient(spec)
        self.told: list[Health] = []
        self._news = asyncio.Event()
        self.client.on_health(self._hear)

    def _hear(self, health: Health) -> None:
        self.told.append(health)
        self._news.set()

    async def until(self, wanted: Callable[[Health], bool]) -> Health:
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(self.client.health):
                self._news.clear()
                await self._news.wait()
        return self.client.health

    async def until_state(self, state: WorkerState) -> Health:
        return await self.until(lambda health: health.state is state)


@asynccontextmanager
async def follower(spec: WorkerSpec, *, ready: bool = True) -> AsyncIterator[Follower]:
    follower = Follower(spec)
    try:
        if ready:
            await follower.client.start()
            await follower.until_state(WorkerState.READY)
        yield follower
    finally:
        await follower.client.close()


async def steps_begin(room: WorkerRoom) -> None:
    before = room.steps_run()
    async with asyncio.timeout(PATIENCE_S):
        while room.steps_run() == before:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.01)


async def test_it_keeps_the_protocol(room: WorkerRoom) -> None:
    client: WorkerClient = HttpWorkerClient(room.spec)
    assert client.health.state is WorkerState.STOPPED
    await client.close()


async def test_it_starts_follows_and_fills(room: WorkerRoom) -> None:
    room.play(Script(load_s=0.5))
    async with follower(room.spec) as f:
        result = await f.client.infill(gap())
        assert isinstance(result, InfillResult)
        assert result.choices[0].fills[0].text == "filled"
        states = [health.state for health in f.told]
        assert states[0] is WorkerState.STARTING
        assert WorkerState.LOADING in states
        assert states[-1] is WorkerState.READY
        assert f.client.health.model == "fake-model"
        assert all(first != second for first, second in zip(f.told, f.told[1:], strict=False))


async def test_drafts_come_before_the_result(room: WorkerRoom) -> None:
    room.play(Script(steps=4, step_s=0.05, text="a\u2028b\u0085c"))
    drafts: list[Draft] = []
    async with follower(room.spec) as f:
        result = await f.client.infill(gap(), drafts.append)
    assert drafts
    assert [draft.step for draft in drafts] == sorted(draft.step for draft in drafts)
    assert result.choices[0].fills[0].text == "a\u2028b\u0085c"


async def test_it_edits(room: WorkerRoom) -> None:
    room.play(Script(text="shorter", instructions=True))
    drafts: list[Draft] = []
    async with follower(room.spec) as f:
        for on_draft in (None, drafts.append):
            result = await f.client.edit(EditRequest(selection="long", instruction="shorten"), on_draft)
            assert result.choices[0].fills[0].text == "shorter"
        assert f.client.health.instructions
    assert drafts


async def test_an_instruction_that_the_model_does_not_take_is_an_error(room: WorkerRoom) -> None:
    async with follower(room.spec) as f:
        with pytest.raises(WorkerError, match="takes no instructions") as refused:
            await f.client.edit(EditRequest(selection="long", instruction="shorten"))
        assert refused.value.code is ErrorCode.BAD_REQUEST


async def test_a_windows_requests_all_carry_its_key(room: WorkerRoom) -> None:
    async with follower(room.spec) as one, follower(room.spec) as other:
        await one.client.infill(gap())
        await one.client.edit(EditRequest(selection="a", client="somebody else"))
        await other.client.infill(gap())
    keys = names_in(room.folder, "begun")  # without a document, a request is called by its window
    assert keys[0] == keys[1] != keys[2]
    assert all(len(key) == 16 for key in keys)


async def test_the_first_request_starts_it_and_is_refused_at_once(room: WorkerRoom) -> None:
    async with follower(room.spec, ready=False) as f:
        with pytest.raises(WorkerUnavailable) as refused:
            async with asyncio.timeout(1.0):
                await f.client.infill(gap())
        assert refused.value.health.state is WorkerState.STARTING
        await f.until_state(WorkerState.READY)
        assert await f.client.infill(gap())


async def test_starting_never_blocks_the_loop(room: WorkerRoom) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.005)
            longest = max(longest, loop.time() - before)

    async with follower(room.spec, ready=False) as f:
        watching = asyncio.create_task(watch())
        await f.client.start()
        await f.until_state(WorkerState.READY)
        watching.cancel()
    assert longest < 0.5


async def test_two_windows_share_one_worker(room: WorkerRoom) -> None:
    async with follower(room.spec) as one, follower(room.spec) as other:
        assert one.client.health.pid == other.client.health.pid
        assert len(room.workers()) == 1
    assert len(room.workers()) == 1  # closing a client leaves the worker


async def test_cancelling_the_task_cancels_at_the_worker(room: WorkerRoom) -> None:
    room.play(ENDLESS)
    async with follower(room.spec) as f:
        asking = asyncio.create_task(f.client.infill(gap()))
        await steps_begin(room)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        room.play(Script(steps=1, text="next"))
        result = await f.client.infill(gap())
    assert result.choices[0].fills[0].text == "next"


async def test_an_error_answer_is_a_worker_error(room: WorkerRoom) -> None:
    room.play(Script(fail="out_of_memory"))
    async with follower(room.spec) as f:
        for on_draft in (None, lambda draft: None):
            with pytest.raises(WorkerError, match="the script says so") as error:
                await f.client.infill(gap(), on_draft)
            assert error.value.code is ErrorCode.OUT_OF_MEMORY
        assert f.client.health.state is WorkerState.READY


async def test_the_superseded_one_is_told(room: WorkerRoom) -> None:
    room.play(ENDLESS)
    async with follower(room.spec) as f:
        older = asyncio.create_task(f.client.infill(gap("d")))
        await steps_begin(room)
        room.play(Script())
        assert await f.client.infill(gap("d"))
        with pytest.raises(WorkerError) as error:
            await older
        assert error.value.code is ErrorCode.SUPERSEDED


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_worker_killed_mid_request_is_replaced(room: WorkerRoom, streamed: bool) -> None:
    room.play(ENDLESS)
    async with follower(room.spec) as f:
        first = f.client.health.pid
        asking = asyncio.create_task(f.client.infill(gap(), (lambda draft: None) if streamed else None))
        await steps_begin(room)
        room.play(Script())
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerUnavailable):
            async with asyncio.timeout(PATIENCE_S):
                await asking
        health = await f.until(lambda health: health.state is WorkerState.READY and health.pid != first)
        assert await f.client.infill(gap())
        assert room.workers() == [health.pid]


async def test_many_requests_of_a_killed_worker_start_one_other(room: WorkerRoom) -> None:
    room.play(ENDLESS)
    async with follower(room.spec) as f:
        first = f.client.health.pid
        asking = [asyncio.create_task(f.client.infill(gap())) for _ in range(10)]
        await steps_begin(room)
        room.play(Script())
        os.kill(first, signal.SIGKILL)
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {WorkerUnavailable}
        await f.until(lambda health: health.state is WorkerState.READY and health.pid != first)
        assert len(room.workers()) == 1
        assert room.log().count("listening at") == 2


async def test_a_worker_stopped_elsewhere_comes_back_when_needed(room: WorkerRoom) -> None:
    async with follower(room.spec) as f:
        first = f.client.health.pid
        os.kill(first, signal.SIGTERM)
        await asyncio.to_thread(wait_until, lambda: not alive(first))
        with pytest.raises(WorkerUnavailable):
            await f.client.infill(gap())
        await f.until(lambda health: health.state is WorkerState.READY and health.pid != first)
        assert await f.client.infill(gap())


async def test_a_worker_that_ends_while_idle_is_noticed(room: WorkerRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsp_server.http_worker_client.READY_POLL_S", 0.05)
    async with follower(room.spec) as f:
        os.kill(f.client.health.pid, signal.SIGKILL)
        await f.until_state(WorkerState.STOPPED)
        assert room.workers() == []  # nobody needs one
        await f.client.start()
        await f.until_state(WorkerState.READY)


async def test_a_hung_worker_is_replaced(room: WorkerRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsp_server.http_worker_client.READY_POLL_S", 0.05)
    async with follower(room.with_(hung_limit_s=0.5)) as f:
        first = f.client.health.pid
        os.kill(first, signal.SIGSTOP)
        await f.until(lambda health: health.state is WorkerState.READY and health.pid != first)
        assert await f.client.infill(gap())
        is_gone(first)


async def test_an_answer_that_never_comes_has_a_limit(room: WorkerRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsp_server.http_worker_client.DEADLINE_GRACE_S", 0.2)
    async with follower(room.with_(hung_limit_s=0.5)) as f:
        first = f.client.health.pid
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(WorkerUnavailable, match=r"did not answer within 0.3 seconds"):
            await f.client.infill(gap(deadline_ms=100))
        await f.until(lambda health: health.state is WorkerState.READY and health.pid != first)


async def test_a_model_that_cannot_be_loaded_is_told_and_not_tried_at_every_key(room: WorkerRoom) -> None:
    room.play(Script(fail_load="no weights in there; fetch them"))
    async with follower(room.spec, ready=False) as f:
        await f.client.start()
        health = await f.until_state(WorkerState.ERROR)
        assert health.message == "no weights in there; fetch them"
        told = len(f.told)
        for _ in range(20):
            with pytest.raises(WorkerUnavailable, match="no weights in there"):
                await f.client.infill(gap())
        assert len(f.told) == told
        room.play(Script())
        await f.client.restart()
        await f.until_state(WorkerState.READY)


async def test_a_worker_that_dies_while_loading_is_told_with_its_last_words(room: WorkerRoom) -> None:
    room.play(Script(load_s=60.0))
    async with follower(room.spec, ready=False) as f:
        await f.client.start()
        health = await f.until(lambda health: health.message == "reading weights")
        os.kill(health.pid, signal.SIGKILL)
        health = await f.until_state(WorkerState.ERROR)
        assert "ended while loading" in health.message
        assert "worker-default.log" in health.message


async def test_a_worker_that_cannot_be_started_is_told(room: WorkerRoom) -> None:
    async with follower(room.with_(command=("/nowhere/python",)), ready=False) as f:
        await f.client.start()
        health = await f.until_state(WorkerState.ERROR)
        assert "there is no /nowhere/python" in health.message


async def test_restarting_ends_the_old_one(room: WorkerRoom) -> None:
    async with follower(room.spec) as f:
        first = f.client.health.pid
        await f.client.restart()
        health = await f.until(lambda health: health.state is WorkerState.READY and health.pid != first)
        assert room.workers() == [health.pid]


async def test_a_closed_client_stays_closed(room: WorkerRoom) -> None:
    async with follower(room.spec) as f:
        await f.client.close()
        await f.client.start()
        with pytest.raises(WorkerUnavailable, match="closed"):
            await f.client.infill(gap())
        assert f.client.health.state is WorkerState.STOPPED


async def test_closing_while_starting_does_not_wait(room: WorkerRoom) -> None:
    spec = room.with_(command=(sys.executable, "-c", "import time; time.sleep(60)"), start_limit_s=PATIENCE_S)
    async with follower(spec, ready=False) as f:
        await f.client.start()
        await asyncio.sleep(0.2)
        async with asyncio.timeout(2.0):
            await f.client.close()


async def test_a_listener_that_fails_disturbs_nobody(room: WorkerRoom) -> None:
    async with follower(room.spec, ready=False) as f:
        f.client.on_health(lambda health: 1 / 0)  # type: ignore[arg-type]
        late: list[Health] = []
        f.client.on_health(late.append)
        await f.client.start()
        await f.until_state(WorkerState.READY)
        assert late[-1].state is WorkerState.READY


async def test_no_proxy_stands_between(room: WorkerRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with follower(room.with_(http="127.0.0.1:0")) as f:
        assert await f.client.infill(gap())


def test_a_window_killed_mid_request_frees_the_worker(room: WorkerRoom) -> None:
    room.play(ENDLESS)
    code = """if True:
        import asyncio, sys
        from inference.protocol import InfillRequest, Masked, WorkerState
        from lsp_server.http_worker_client import HttpWorkerClient
        from lsp_server.lifecycle import WorkerSpec
        async def main():
            client = HttpWorkerClient(WorkerSpec(command=tuple(sys.argv[1:])))
            await client.start()
            while client.health.state is not WorkerState.READY:
                await asyncio.sleep(0.01)
            await client.infill(InfillRequest(segments=(Masked(1),)))
        asyncio.run(main())
    """
    window = subprocess.Popen([sys.executable, "-c", code, *FAKE_WORKER], cwd=room.folder)
    asyncio.run(steps_begin(room))
    window.kill()
    window.wait()
    room.play(Script(text="next"))

    async def ask() -> str:
        async with follower(room.spec) as f:
            return (await f.client.infill(gap())).choices[0].fills[0].text

    assert asyncio.run(ask()) == "next"
    assert len(room.workers()) == 1


async def test_two_hundred_at_once(room: WorkerRoom) -> None:
    room.play(Script(steps=2))
    async with follower(room.spec) as f:
        outcomes = await asyncio.gather(*(f.client.infill(gap()) for _ in range(200)), return_exceptions=True)
        refused = [outcome for outcome in outcomes if not isinstance(outcome, InfillResult)]
        assert all(isinstance(error, WorkerError) and error.code is ErrorCode.QUEUE_FULL for error in refused)
        assert len(refused) < 200
        assert await find_worker(room.spec)


async def test_a_refusal_is_told_at_once_and_nothing_is_asked_again(room: WorkerRoom) -> None:
    room.play(ENDLESS)
    async with follower(room.spec) as f, follower(room.spec) as other:
        running = asyncio.create_task(f.client.infill(gap()))
        await steps_begin(room)
        waiting = [asyncio.create_task(f.client.infill(gap())) for _ in range(CAPACITY_PER_CLIENT)]
        await metric(room, 'lacuna_waiting_requests{priority="interactive"}', CAPACITY_PER_CLIENT)
        for times in (1, 2):
            with pytest.raises(WorkerError, match="of this window are waiting already; try again in") as refused:
                await f.client.infill(gap("typed on"))
            assert refused.value.code is ErrorCode.QUEUE_FULL
            await metric(room, 'lacuna_requests_total{outcome="queue_full"}', times)  # once for each key, no more
        assert f.client.health.state is WorkerState.READY, "a busy worker is not a broken one"
        room.play(Script())
        single = asyncio.create_task(other.client.infill(gap()))
        await metric(room, 'lacuna_waiting_requests{priority="interactive"}', CAPACITY_PER_CLIENT + 1)
        running.cancel()
        assert (await single).choices[0].fills[0].text == "filled"
        await asyncio.gather(*waiting)
        assert (await f.client.infill(gap("typed on"))).choices[0].fills[0].text == "filled"
        await metric(room, 'lacuna_requests_total{outcome="queue_full"}', 2)


async def metric(room: WorkerRoom, name: str, wanted: int) -> None:
    """Wait until the worker says that this is how many."""
    found = await find_worker(room.spec)
    assert found is not None
    transport = httpx.AsyncHTTPTransport(uds=found[0].address.removeprefix("unix:"))
    headers = {"authorization": f"Bearer {found[0].token}"}
    async with (
        asyncio.timeout(PATIENCE_S),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client,
    ):
        while f"{name} {wanted:.1f}\n" not in (await client.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_it_leaves_no_thread_waiting(room: WorkerRoom) -> None:
    async def use() -> None:
        async with follower(room.spec) as f:
            await f.client.infill(gap())

    before = set(threading.enumerate())  # other tests may have left theirs
    asyncio.run(use())
    assert all(thread.daemon for thread in set(threading.enumerate()) - before)
