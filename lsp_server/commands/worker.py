"""``lacuna worker start|run|stop|status|logs``: the resident process, by hand."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from inference.protocol import Endpoint, Health, WorkerState
from lsp_server.commands.errors import CommandError
from lsp_server.commands.loading_view import LoadingView
from lsp_server.commands.model_options import add_model_options, model_choice
from lsp_server.lifecycle import (
    LifecycleError,
    WorkerFiles,
    WorkerSpec,
    ensure_worker,
    find_worker,
    run_worker,
    stop_worker,
)

LOAD_LIMIT_S = 600.0
POLL_S = 0.2
_T = TypeVar("_T")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("worker", help="start, stop and look at the process that holds the model")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    model = argparse.ArgumentParser(add_help=False)
    add_model_options(model)
    serving = argparse.ArgumentParser(add_help=False)
    serving.add_argument("--http", metavar="HOST:PORT", help="listen on loopback TCP instead of a Unix socket")
    serving.add_argument(
        "--keep-alive", type=float, metavar="SECONDS", help="leave when unused for that long; 0: never"
    )
    serving.add_argument(
        "--unload-after", type=float, metavar="SECONDS", help="free the weights when unused for that long; 0: never"
    )

    start = actions.add_parser("start", parents=[model, serving], help="start it, or attach to the one that runs")
    start.add_argument("--json", action="store_true", help="print one JSON object")
    start.add_argument("--wait", action="store_true", help="wait until the model is loaded, as on a terminal")
    start.set_defaults(run=_start)
    run = actions.add_parser("run", parents=[model, serving], help="run it in the foreground, its log on stderr")
    run.add_argument("--log-level", choices=["debug", "info", "warning"], default="info", help="debug quotes buffers")
    run.set_defaults(run=_run)
    stop = actions.add_parser("stop", parents=[model], help="end it, for every editor window")
    stop.set_defaults(run=_stop)
    state = actions.add_parser("status", parents=[model], help="say how it is; exit code 3 if it is not up")
    state.add_argument("--json", action="store_true", help="print one JSON object")
    state.set_defaults(run=_status)
    logs = actions.add_parser("logs", parents=[model], help="print the end of its log")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="that many lines (default: 50)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    logs.set_defaults(run=_logs)


def _start(arguments: argparse.Namespace) -> int:
    watched = arguments.wait or (sys.stderr.isatty() and not arguments.json)
    _print(*_or_fail(_started(_spec(arguments), watched)), as_json=arguments.json)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    code: int = _or_fail(run_worker(_spec(arguments, log_level=arguments.log_level)))
    return 0 if code == 0 else 3


def _stop(arguments: argparse.Namespace) -> int:
    print("stopped" if _or_fail(stop_worker(_spec(arguments))) else "no worker is running")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    found = _or_fail(find_worker(_spec(arguments)))
    if found is None:
        raise CommandError("no worker is running; the first request starts one, or: lacuna worker start")
    _print(*found, as_json=arguments.json)
    if found[1].state is WorkerState.ERROR:
        raise CommandError(found[1].message)
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    try:
        log = WorkerFiles.of(_spec(arguments)).log
        for piece in _pieces(log, max(arguments.lines, 0), arguments.follow):
            print(piece, end="", flush=True)
    except FileNotFoundError:
        raise CommandError(f"there is no log yet at {log}") from None
    except (LifecycleError, PermissionError) as error:
        raise CommandError(str(error)) from None
    return 0


async def _started(spec: WorkerSpec, wait: bool) -> tuple[Endpoint, Health]:
    """Start or attach; ``wait`` for the model at most ``LOAD_LIMIT_S`` seconds."""
    await ensure_worker(spec, by_hand=True)
    deadline = time.monotonic() + LOAD_LIMIT_S
    with LoadingView() as view:
        while True:
            found = await find_worker(spec, limit_s=spec.hung_limit_s)
            if found is None:
                raise LifecycleError("the worker left while loading; `lacuna worker logs` tells why")
            if found[1].state is WorkerState.ERROR:
                raise LifecycleError(found[1].message)
            if not wait or found[1].state is WorkerState.READY:
                return found
            if time.monotonic() > deadline:
                raise LifecycleError(f"the worker is still {found[1].state} after {LOAD_LIMIT_S:g} seconds")
            view.show(found[1])
            await asyncio.sleep(POLL_S)


def _pieces(log: Path, lines: int, follow: bool) -> Iterator[str]:
    """Yield the log's last lines; to ``follow`` it is to go on until interrupted, also when it gets shortened."""
    with log.open(encoding="utf-8", errors="replace") as file:
        yield "".join(file.readlines()[-lines:] if lines else [])
        while follow:
            if piece := file.read():
                yield piece
            elif log.stat().st_size < file.tell():
                file.seek(0)
            else:
                time.sleep(POLL_S)


def _spec(arguments: argparse.Namespace, *, log_level: str = "info") -> WorkerSpec:
    given = vars(arguments)
    spec = WorkerSpec(**model_choice(arguments), http=given.get("http"), log_level=log_level)
    times = {f"{name}_s": given.get(name) for name in ("keep_alive", "unload_after")}
    return replace(spec, **{name: value for name, value in times.items() if value is not None})


def _or_fail(work: Coroutine[Any, Any, _T]) -> _T:
    try:
        return asyncio.run(work)
    except LifecycleError as error:
        raise CommandError(str(error)) from None


def _print(endpoint: Endpoint, health: Health, *, as_json: bool) -> None:
    if as_json:
        named = {"address": endpoint.address, "token": endpoint.token, "pid": endpoint.pid}
        print(json.dumps(named | {"model": health.model, "engine": health.engine, "state": health.state}))
    else:
        loading = f" {health.progress:.0%}, {health.message}" if health.state is WorkerState.LOADING else ""
        place = f"pid {endpoint.pid}, {health.model} on {health.device or 'no device yet'}, {health.engine} engine"
        print(f"lacuna worker: {health.state}{loading} at {endpoint.address} ({place})")
