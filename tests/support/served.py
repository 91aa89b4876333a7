"""The worker's application in this process, around a fake engine, with clients that need no socket."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from inference.app import create_app
from inference.protocol import WorkerState
from inference.scheduler import Scheduler
from tests.support.fake_engine import FakeEngine, Script
from tests.support.worker_room import wait_until

TOKEN = "a-token"


@contextmanager
def served() -> Iterator[Callable[..., httpx.AsyncClient]]:
    """Yield what makes a client of an application around an engine that plays a script."""
    schedulers = []

    def client(
        script: Script | None = None,
        *,
        loopback_only: bool = False,
        wait: bool = True,
        on_step: Callable[[int], None] = lambda step: None,
        engine: FakeEngine | None = None,
        **headers: str,
    ) -> httpx.AsyncClient:
        made = engine or FakeEngine(script, on_step)
        scheduler = Scheduler(lambda: made, model="m", engine="local", capacity=2)
        scheduler.start()
        schedulers.append(scheduler)
        if wait:
            wait_until(lambda: scheduler.health.state in (WorkerState.READY, WorkerState.ERROR))
        transport = httpx.ASGITransport(create_app(scheduler, token=TOKEN, loopback_only=loopback_only))
        known = {"authorization": f"Bearer {TOKEN}"} | headers
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8123", headers=known)

    yield client
    for scheduler in schedulers:
        assert scheduler.close(30.0)
