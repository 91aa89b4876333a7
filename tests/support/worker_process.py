"""One worker process, started by hand: without the launcher."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from inference.protocol import Endpoint, decode
from tests.support.worker_room import FAKE_WORKER, PATIENCE_S, WorkerRoom, endpoint_is_there, wait_until


class Process:
    """A worker that lives in a room; :meth:`ended` waits for its exit code."""

    def __init__(self, room: WorkerRoom, *options: str, command: tuple[str, ...] = FAKE_WORKER) -> None:
        self.room = room
        self.endpoint_path = room.folder / "e.json"
        self.log_path = room.folder / "worker.log"
        place = () if "--http" in options else ("--socket", str(room.folder / "s.sock"))
        arguments = [*command, "--endpoint", str(self.endpoint_path), *place, *options]
        with self.log_path.open("ab+") as log:
            self.popen = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, cwd="/")

    @property
    def endpoint(self) -> Endpoint:
        wait_until(lambda: endpoint_is_there(self.endpoint_path) or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.log()
        return decode(Endpoint, json.loads(self.endpoint_path.read_text()))

    def client(self) -> httpx.AsyncClient:
        endpoint = self.endpoint
        path = endpoint.address.removeprefix("unix:") if endpoint.address.startswith("unix:") else None
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=path),
            base_url="http://localhost" if path else endpoint.address,
            headers={"authorization": f"Bearer {endpoint.token}"},
            timeout=PATIENCE_S,
        )

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client, once the model is loaded or cannot be."""
        async with self.client() as client:
            while (await client.get("/health")).json()["state"] not in ("ready", "error"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            yield client

    def ended(self) -> int:
        return self.popen.wait(PATIENCE_S)

    def log(self) -> str:
        return self.log_path.read_text()
