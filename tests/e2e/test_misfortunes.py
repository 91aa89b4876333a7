"""What can befall a worker with a real engine, while four windows wait for it: each of them hears once, and goes on."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from inference.protocol import Fixed, Health, InfillRequest, InfillResult, Masked, WorkerState
from lsp_server.http_worker_client import HttpWorkerClient
from lsp_server.worker_client import WorkerUnavailable
from lsp_server.worker_spec import WorkerSpec
from tests.support.tiny_checkpoint import write_tiny_checkpoint
from tests.support.worker_room import WorkerRoom, room_in

pytestmark = pytest.mark.e2e

LIMIT_S = 60


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path / "room", monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    return write_tiny_checkpoint(folder)


def gap(max_tokens: int = 8) -> InfillRequest:
    return InfillRequest(segments=(Fixed("def f(x):\n    "), Masked(max_tokens), Fixed("\n")), seed=1)


async def until(client: HttpWorkerClient, wanted: Callable[[Health], bool]) -> Health:
    async with asyncio.timeout(LIMIT_S):
        while not wanted(client.health):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return client.health


def ready(health: Health) -> bool:
    return health.state is WorkerState.READY


@asynccontextmanager
async def windows(spec: WorkerSpec, number: int) -> AsyncIterator[list[HttpWorkerClient]]:
    async with AsyncExitStack() as stack:
        clients = [HttpWorkerClient(spec) for _ in range(number)]
        for client in clients:
            stack.push_async_callback(client.close)
            await client.start()
        for client in clients:
            await until(client, ready)
        yield clients


async def ask_all(clients: list[HttpWorkerClient], request: InfillRequest) -> list[InfillResult | BaseException]:
    async with asyncio.timeout(LIMIT_S):
        return await asyncio.gather(*(client.infill(request) for client in clients), return_exceptions=True)


async def test_killed_within_a_batch(room: WorkerRoom, model: Path) -> None:
    async with windows(WorkerSpec(model=model, device="cpu"), 4) as clients:
        drafts = list[int]()
        asking = [
            asyncio.create_task(one.infill(gap(10_000), lambda draft, n=number: drafts.append(n)))  # type: ignore[misc]
            for number, one in enumerate(clients)
        ]
        async with asyncio.timeout(LIMIT_S):
            while set(drafts) != {0, 1, 2, 3}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        pid = clients[0].health.pid
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(LIMIT_S):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [WorkerUnavailable] * 4
        for client in clients:
            await until(client, lambda health: ready(health) and health.pid != pid)
        answers = await ask_all(clients, gap())
        assert [type(answer) for answer in answers] == [InfillResult] * 4
        assert len(room.workers()) == 1


async def test_asleep_it_wakes_for_four_at_once_and_says_why_when_it_cannot(
    room: WorkerRoom, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsp_server.http_worker_client.READY_POLL_S", 0.05)
    async with windows(WorkerSpec(model=model, device="cpu", unload_after_s=0.2), 4) as clients:

        def asleep(health: Health) -> bool:
            return "sleeps" in health.message

        await until(clients[0], asleep)
        answers = await ask_all(clients, gap())
        assert [type(answer) for answer in answers] == [InfillResult] * 4

        await until(clients[0], asleep)
        elsewhere = await asyncio.to_thread(model.rename, model.with_name("elsewhere"))
        refused = await ask_all(clients, gap())
        assert [type(outcome) for outcome in refused] == [WorkerUnavailable] * 4
        told = await until(clients[0], lambda health: health.state is WorkerState.ERROR)
        assert str(model) in told.message

        await asyncio.to_thread(elsewhere.rename, model)
        await clients[0].restart()
        await until(clients[0], ready)
        assert isinstance(await clients[0].infill(gap()), InfillResult)
