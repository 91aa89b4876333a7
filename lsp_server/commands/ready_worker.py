"""A worker whose model is loaded, for commands: waited for with a word on stderr, its troubles told as theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console

from inference.protocol import Health, WorkerState
from lsp_server.commands.errors import CommandError
from lsp_server.worker_client import WorkerClient, WorkerError, WorkerUnavailable

LOAD_LIMIT_S = 300.0
"""How long to wait for a worker that is still loading its model."""


@asynccontextmanager
async def ready_worker(model: Path | None) -> AsyncIterator[WorkerClient]:
    """Start or attach to the worker of ``model`` (None: the embedded one), and let go of it in the end.

    Raises :class:`CommandError` when it cannot be had, and for what it raises within.
    """
    from lsp_server.http_worker_client import HttpWorkerClient  # httpx costs 0.1 s, and --help needs none
    from lsp_server.worker_spec import WorkerSpec

    client = HttpWorkerClient(WorkerSpec(model=model))
    try:
        await _loaded(client)
        yield client
    except WorkerUnavailable as error:
        raise CommandError(f"the worker cannot fill gaps: {error}") from None
    except WorkerError as error:
        raise CommandError(f"the worker refused: {error}") from None
    finally:
        await client.close()


async def _loaded(client: WorkerClient) -> None:
    """Wait until the model is loaded. Raises CommandError when it never will be."""
    settled = asyncio.Event()

    def heard(health: Health) -> None:
        if health.state in (WorkerState.READY, WorkerState.ERROR):
            settled.set()
        status.update(f"{health.message or health.state.value} {health.progress:.0%}")

    with Console(stderr=True).status("starting the worker") as status:
        client.on_health(heard)
        await client.start()
        if client.health.state not in (WorkerState.READY, WorkerState.ERROR):
            try:
                await asyncio.wait_for(settled.wait(), LOAD_LIMIT_S)
            except TimeoutError:
                raise CommandError(
                    f"the worker is still {client.health.state.value} after {LOAD_LIMIT_S:.0f} s; "
                    "`lacuna worker logs` tells more"
                ) from None
    if client.health.state is WorkerState.ERROR:
        raise CommandError(client.health.message)
