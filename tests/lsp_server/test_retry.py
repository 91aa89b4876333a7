"""A worker that could not be had is tried again at a key, soon at first and then ever later."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.protocol import InfillRequest, Masked, WorkerState
from lsp_server import http_worker_client
from lsp_server.http_worker_client import HttpWorkerClient
from lsp_server.worker_client import WorkerUnavailable
from tests.support.worker_room import PATIENCE_S, WorkerRoom, room_in

KEY = InfillRequest(segments=(Masked(4),))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


async def settled(client: HttpWorkerClient, state: WorkerState) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while client.health.state is not state:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def press(client: HttpWorkerClient) -> WorkerState:
    with pytest.raises(WorkerUnavailable) as unavailable:
        await client.infill(KEY)
    return unavailable.value.health.state


async def test_soon_then_later_and_at_once_again_after_it_was_ready(
    room: WorkerRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_worker_client, "RETRY_AFTER_ERROR_S", (0.0, 1000.0))
    broken = room.with_(command=(sys.executable, "-c", "raise SystemExit('out of order')"), max_starts_per_minute=100)
    client = HttpWorkerClient(broken)
    await client.start()
    await settled(client, WorkerState.ERROR)
    assert await press(client) is WorkerState.STARTING, "the first failure is tried again at the next key"
    await settled(client, WorkerState.ERROR)
    assert await press(client) is WorkerState.ERROR, "the second is not, for a while"
    client._spec = room.spec
    await client.start()
    await settled(client, WorkerState.READY)
    [worker] = room.workers()
    await client.close()
    assert worker
    assert client._failures == 0
