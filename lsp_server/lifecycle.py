"""The life of a worker as its users see it: find it, start it, replace it, stop it. Nothing here blocks the loop.

One worker for each user and model. Whoever needs it first starts it, under a lock; everybody else attaches. What is
found at the endpoint decides:

- a worker that answers is attached to;
- a file without a worker behind it (dead, garbage, another user's) is cleaned up, and a new worker started;
- a worker that stays silent for ``hung_limit_s`` is ended, if it is surely ours, and replaced;
- an older protocol's worker loses its endpoint file, which tells it to drain, and a new one is started;
- a newer protocol's worker is left alone, and refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import time
from collections.abc import Callable
from pathlib import Path

from inference.protocol import PROTOCOL_VERSION, Endpoint, Health, WorkerState
from lsp_server.endpoint_file import BadEndpoint, read_endpoint, remove_endpoint
from lsp_server.lifecycle_error import LifecycleError
from lsp_server.lock_file import LockFile, LockTimeout
from lsp_server.runtime_dir import RuntimeDirError
from lsp_server.worker_connection import ConnectionLost, NoAnswer, connect
from lsp_server.worker_process import is_our_worker, send_signal, spawn, spawn_attached, worker_command
from lsp_server.worker_spec import WorkerFiles, WorkerSpec, is_hub_id

QUICK_LIMIT_S = 1.0
STOP_LIMIT_S = 15.0
KILL_LIMIT_S = 5.0
HUNG_TERM_S = 1.0
POLL_S = 0.03

__all__ = [
    "LifecycleError",
    "RuntimeDirError",
    "WorkerFiles",
    "WorkerSpec",
    "ensure_worker",
    "find_worker",
    "last_words",
    "run_worker",
    "status",
    "stop_worker",
]


async def ensure_worker(spec: WorkerSpec, *, by_hand: bool = False) -> Endpoint:
    """Attach to the worker, starting it if need be; it listens then, and may still be loading.

    ``by_hand`` says that a person asked for it: then recent failures do not count, and a worker that could not load
    its model is replaced. Raises :class:`LifecycleError`.
    """
    files = await asyncio.to_thread(WorkerFiles.of, spec)
    found = await _healthy(files, QUICK_LIMIT_S)
    if found is not None and not (by_hand and found[1].state is WorkerState.ERROR):
        endpoint = found[0]
    else:
        endpoint = await _find_or_start(spec, files, by_hand)
    if spec.http is not None and not endpoint.address.startswith("http:"):
        raise LifecycleError(f"a worker listens at {endpoint.address} already; stop it first: lacuna worker stop")
    return endpoint


async def find_worker(spec: WorkerSpec, limit_s: float = 3.0) -> tuple[Endpoint, Health] | None:
    """Return the running worker, None if there is none. Raises :class:`LifecycleError` for one that stays silent."""
    try:
        return await _attached(await asyncio.to_thread(WorkerFiles.of, spec), limit_s)
    except (BadEndpoint, ConnectionLost):
        return None
    except NoAnswer as error:
        raise LifecycleError(f"{error}; replace it: lacuna worker stop") from None


async def stop_worker(spec: WorkerSpec) -> bool:
    """End the worker: it finishes or cancels what runs within seconds. False if there was none.

    Raises :class:`LifecycleError`.
    """
    files = await asyncio.to_thread(WorkerFiles.of, spec)
    try:
        async with LockFile(files.lock, spec.start_limit_s + KILL_LIMIT_S) as lock:
            lock.note_starts([])
            try:
                endpoint = read_endpoint(files.endpoint)
            except BadEndpoint:
                endpoint = None
            if endpoint is not None:
                return await _end(endpoint, files, STOP_LIMIT_S)
            remove_endpoint(files.endpoint, None)
            return False
    except (LockTimeout, OSError) as error:
        raise LifecycleError(f"the worker cannot be stopped: {error}") from None


async def run_worker(spec: WorkerSpec) -> int:
    """Run a worker in the foreground, its log on our standard error, until it ends; return its exit code.

    Raises :class:`LifecycleError`, also when there is one already.
    """
    files = await asyncio.to_thread(WorkerFiles.of, spec)
    try:
        async with LockFile(files.lock, spec.hung_limit_s + spec.start_limit_s + KILL_LIMIT_S):
            if (endpoint := await _find_or_clean_up(spec, files, by_hand=True)) is not None:
                raise LifecycleError(f"a worker runs already, as process {endpoint.pid}; stop it: lacuna worker stop")
            process = await asyncio.to_thread(spawn_attached, worker_command(spec, files))
            await _listening(spec, files, lambda: process.poll() is not None)
    except (LockTimeout, OSError) as error:
        raise LifecycleError(f"the worker cannot be started: {error}") from None
    with contextlib.suppress(NotImplementedError):  # Windows has none
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, process.terminate)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal tells the worker too
    return await asyncio.to_thread(process.wait)


def status(spec: WorkerSpec) -> tuple[Endpoint, Health] | None:
    """Return the running worker and its health, None if there is none; for commands, which have no event loop.

    Raises :class:`LifecycleError` for a worker that stays silent.
    """
    return asyncio.run(find_worker(spec))


def last_words(log: Path, since: int = 0) -> str:
    """Return the last line of a worker's log from byte ``since`` on, and where the log lies."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, log.stat().st_size - 16_384))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"{last} (log: {log})"


# --- finding ----------------------------------------------------------------------------------------------------------


async def _attached(files: WorkerFiles, limit_s: float) -> tuple[Endpoint, Health] | None:
    endpoint = read_endpoint(files.endpoint)
    if endpoint is None:
        return None
    connection = await connect(endpoint)
    try:
        return endpoint, await connection.health(limit_s)
    finally:
        await connection.close()


async def _healthy(files: WorkerFiles, limit_s: float) -> tuple[Endpoint, Health] | None:
    try:
        found = await _attached(files, limit_s)
    except (BadEndpoint, ConnectionLost, NoAnswer):
        return None
    return found if found is not None and found[0].protocol_version == PROTOCOL_VERSION else None


async def _find_or_clean_up(spec: WorkerSpec, files: WorkerFiles, by_hand: bool) -> Endpoint | None:
    """Return the worker if it can be used; else leave nothing of it. The lock is held."""
    try:
        endpoint = read_endpoint(files.endpoint)
    except BadEndpoint:
        remove_endpoint(files.endpoint, None)
        return None
    if endpoint is None:
        return None
    if endpoint.protocol_version > PROTOCOL_VERSION:
        raise LifecycleError(
            f"a worker of a newer Lacuna (protocol {endpoint.protocol_version}) is running;"
            " update this one or stop that one: lacuna worker stop"
        )
    if endpoint.protocol_version < PROTOCOL_VERSION:
        files.endpoint.unlink(missing_ok=True)
        return None
    try:
        found = await _attached(files, spec.hung_limit_s)
    except (BadEndpoint, ConnectionLost):
        remove_endpoint(files.endpoint, endpoint)
        return None
    except NoAnswer:
        await _end(endpoint, files, HUNG_TERM_S)
        return None
    if found is not None and by_hand and found[1].state is WorkerState.ERROR:
        await _end(endpoint, files, KILL_LIMIT_S)
        return None
    return endpoint


# --- starting and ending ----------------------------------------------------------------------------------------------


async def _find_or_start(spec: WorkerSpec, files: WorkerFiles, by_hand: bool) -> Endpoint:
    try:
        async with LockFile(files.lock, spec.hung_limit_s + spec.start_limit_s + KILL_LIMIT_S) as lock:
            found = await _find_or_clean_up(spec, files, by_hand)
            return found or await _start(spec, files, lock, by_hand)
    except LockTimeout as error:
        raise LifecycleError(f"{error}; end the process that holds it") from None
    except OSError as error:
        raise LifecycleError(_no_room(files, error)) from None


async def _start(spec: WorkerSpec, files: WorkerFiles, lock: LockFile, by_hand: bool) -> Endpoint:
    if spec.model is not None and not spec.model.expanduser().is_dir() and not is_hub_id(spec.model):
        raise LifecycleError(f"there is no model folder {spec.model}")
    if spec.adapter is not None and not spec.adapter.expanduser().is_dir():
        raise LifecycleError(f"there is no adapter folder {spec.adapter}")
    starts = [] if by_hand else lock.recent_starts(within_s=60.0)
    if len(starts) >= spec.max_starts_per_minute:
        raise LifecycleError(
            f"the worker was started {len(starts)} times within a minute and did not last: {last_words(files.log)}"
        )
    lock.note_starts([*starts, time.time()])
    log_size = files.log.stat().st_size if files.log.exists() else 0
    try:
        process = await asyncio.to_thread(spawn, worker_command(spec, files), files.log)
    except FileNotFoundError:
        raise LifecycleError(f"there is no {spec.command[0]} to start the worker with") from None
    endpoint = await _listening(spec, files, lambda: process.poll() is not None)
    if endpoint is not None:
        return endpoint
    if (code := process.poll()) is None:
        process.kill()
        what = f"did not listen within {spec.start_limit_s:g} seconds"
    else:
        what = f"left at once with exit code {code}"
    raise LifecycleError(f"the worker {what}: {last_words(files.log, log_size)}")


async def _listening(spec: WorkerSpec, files: WorkerFiles, ended: Callable[[], bool]) -> Endpoint | None:
    deadline = time.monotonic() + spec.start_limit_s
    while time.monotonic() < deadline and not ended():
        try:
            if (endpoint := read_endpoint(files.endpoint)) is not None:
                return endpoint
        except BadEndpoint as error:
            raise LifecycleError(f"the new worker's endpoint is not to be trusted: {error}") from None
        await asyncio.sleep(POLL_S)
    return None


async def _end(endpoint: Endpoint, files: WorkerFiles, limit_s: float) -> bool:
    """End a worker within ``limit_s`` seconds, by signal if it is surely ours, else by taking its endpoint away."""
    was_ours = is_our_worker(endpoint.pid, files.endpoint)
    for number, limit in ((signal.SIGTERM, limit_s), (getattr(signal, "SIGKILL", signal.SIGTERM), KILL_LIMIT_S)):
        if is_our_worker(endpoint.pid, files.endpoint):
            send_signal(endpoint.pid, number)
        deadline = time.monotonic() + limit
        while is_our_worker(endpoint.pid, files.endpoint) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
    answered = not was_ours and await _healthy(files, QUICK_LIMIT_S) is not None
    remove_endpoint(files.endpoint, endpoint)
    return was_ours or answered


def _no_room(files: WorkerFiles, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"there is no room on the disk for {error.filename or files.endpoint.parent}; free some and try again"
    return f"the worker cannot be started: {error}"
