"""A worker that stays for days does not grow: each prompt has another length, and kernels made for it are not kept."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from inference.protocol import Fixed, InfillRequest, Masked, Proposal, WorkerState
from lsp_server.http_worker_client import HttpWorkerClient
from lsp_server.worker_spec import WorkerSpec
from tests.support.worker_room import PATIENCE_S, WorkerRoom, room_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TEXT = Path(__file__).read_text(encoding="utf-8") * 4
REQUESTS = 40
GROWTH_MB = 250
"""Without bounds on the caches of oneDNN and ideep it is three times as much; a prefix cache may take some."""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


def resident_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


async def test_prompts_of_many_lengths_leave_little_behind(room: WorkerRoom) -> None:
    rng, text = Random(0), TEXT
    client = HttpWorkerClient(replace(WorkerSpec(), keep_alive_s=room.spec.keep_alive_s))
    await client.start()
    async with asyncio.timeout(PATIENCE_S):
        while client.health.state is not WorkerState.READY:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    [worker] = room.workers()
    begun = resident_mb(worker)
    try:
        for _ in range(REQUESTS):
            at = rng.randrange(len(text) - 200)
            found = (text[start : start + rng.randrange(5, 60)] for start in rng.choices(range(len(text) - 60), k=6))
            segments = (Fixed(text[max(0, at - rng.randrange(2000)) : at]), Masked(31), Fixed(text[at : at + 200]))
            request = InfillRequest(segments=segments, language_id="python", proposals=tuple(map(Proposal, found)))
            await client.infill(request)
        assert resident_mb(worker) - begun < GROWTH_MB
    finally:
        await client.close()
