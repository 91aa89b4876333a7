"""Several windows, one worker, and a worker that is killed in the middle of it all: real processes throughout."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

import pytest
from lsprotocol import types

from tests.support.editor import Editor, editor
from tests.support.fake_engine import Script
from tests.support.worker_room import PATIENCE_S, WorkerRoom, alive, room_in, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WINDOW = [sys.executable, "-m", "tests.support.window"]
MOST_KILLS = 2
"""A worker that is started four times within a minute is given up for that minute."""
OPTIONS = {"debounceMs": 0, "confidenceFloor": 0, "speculate": False}


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    for room in room_in(tmp_path, monkeypatch):
        room.play(Script(text="value", steps=3, step_s=0.01))
        yield room


def window() -> AbstractAsyncContextManager[Editor]:
    return editor(command=WINDOW, options=OPTIONS)


async def suggested(one: Editor, line: int, character: int) -> list[types.InlineCompletionItem]:
    """What is shown once the worker is there: while it starts there is nothing."""
    async with asyncio.timeout(PATIENCE_S):
        while not (items := await one.complete(line, character)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return items


async def test_two_windows_have_one_worker_and_it_outlives_each(room: WorkerRoom) -> None:
    async with window() as first, window() as second:
        for one in (first, second):
            one.open("x = \n")
            assert await suggested(one, 0, 4)
        [worker] = room.workers()
        async with window() as third:
            third.open("y = \n")
            assert await suggested(third, 0, 4)
        assert room.workers() == [worker]
        assert await suggested(first, 0, 4)
    assert alive(worker), "windows come and go, the model stays"


@pytest.mark.parametrize("seed", range(2))
async def test_killed_again_and_again_while_somebody_types(room: WorkerRoom, seed: int) -> None:
    rng, typed, killed = Random(seed), "total = compute(first, second)", 0
    async with window() as one:
        one.open("\n")
        await one.complete(0, 0)  # the worker is still starting
        asked: list[tuple[int, asyncio.Task[list[types.InlineCompletionItem]]]] = []
        for number, char in enumerate(typed):
            one.insert(char, 0, number, number + 2)
            asked.append((number + 1, asyncio.create_task(one.complete(0, number + 1))))
            if rng.random() < 0.3:
                await asked[-1][1]
            if killed < MOST_KILLS and rng.random() < 0.15:
                for pid in room.workers():
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            await asyncio.sleep(rng.random() * 0.1)
        for column, answer in asked:
            for item in await asyncio.wait_for(answer, PATIENCE_S):
                assert item.range == types.Range(types.Position(0, column), types.Position(0, column))
        one.insert("\nz = ", 0, len(typed), len(typed) + 2)
        assert await suggested(one, 1, 4), "it recovers by itself"
    assert killed, "this seed kills nothing"
    wait_until(lambda: len(room.workers()) == 1)
