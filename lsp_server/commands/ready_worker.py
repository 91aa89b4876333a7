"""A worker whose model is loaded, for commands: waited for with a word on stderr, its troubles told as theirs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from inference.protocol import Health, WorkerState
from lsp_server.commands.errors import CommandError
from lsp_server.commands.loading_view import LoadingView
from lsp_server.worker_client import WorkerClient, WorkerError, WorkerUnavailable

SHOW_S = 0.2
LOAD_LIMIT_S = 600.0
"""How long to wait for a worker that is still loading its model."""


@asynccontextmanager
async def ready_worker(model: Path | None, **loading: Any) -> AsyncIterator[WorkerClient]:
    """Start or attach to the worker of ``model`` (None: the embedded one), and let go of it in the end.

    ``loading`` is the rest of :func:`~lsp_server.commands.model_options.model_choice`.

    Raises :class:`CommandError` when it cannot be had, and for what it raises within.
    """
    from lsp_server.http_worker_client import HttpWorkerClient  # httpx costs 0.1 s, and --help needs none
    from lsp_server.worker_spec import WorkerSpec

    client = HttpWorkerClient(WorkerSpec(model=model, **loading))
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

    with LoadingView() as view:
        client.on_health(heard)
        await client.start()
        heard(client.health)
        deadline = time.monotonic() + LOAD_LIMIT_S
        while not settled.is_set():
            view.show(client.health)
            if time.monotonic() > deadline:
                raise CommandError(
                    f"the worker is still {client.health.state.value} after {LOAD_LIMIT_S:.0f} s; "
                    "`lacuna worker logs` tells more"
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(settled.wait(), SHOW_S)
    if client.health.state is WorkerState.ERROR:
        raise CommandError(client.health.message)
