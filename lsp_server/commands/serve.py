"""``lacuna serve``: the language server, on standard input and output."""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from lsp_server.commands.errors import CommandError
from lsp_server.commands.model_options import add_model_options, model_choice
from lsp_server.trace import Trace
from lsp_server.worker_client import WorkerClient

_LEVELS = ("debug", "info", "warning", "error")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("serve", help="run the language server on stdin and stdout")
    parser.add_argument(
        "--stdio", action="store_true", help="accepted because clients append it; there is no other way"
    )
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="log here instead of to stderr")
    parser.add_argument("--log-level", choices=_LEVELS, default="warning", help="debug logs what you type")
    add_model_options(parser)
    parser.add_argument("--trace", type=Path, metavar="FILE", help="append what each request cost: numbers, no text")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until the editor leaves."""
    stdout = claim_stdout()
    log_to(arguments.log_file, arguments.log_level)
    gc.disable()  # the protocol's thousand classes are here to stay: do not walk them now, nor at any later key
    from lsp_server.server import create_server

    gc.freeze()
    gc.enable()
    with contextlib.ExitStack() as stack:
        file = arguments.trace and stack.enter_context(_opened(arguments.trace))
        create_server(lambda: _client(model_choice(arguments)), Trace(file)).start_io(stdout=stdout)
    return 0


def claim_stdout() -> BinaryIO:
    """Keep stdout for the protocol: whatever else is printed, by us or by a child, goes to stderr."""
    sys.stdout.flush()
    protocol = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return protocol


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}") from None


def log_to(file: Path | None, level: str) -> None:
    """Log to ``file``, or to stderr. Above debug no message holds text of the user's."""
    handler: logging.Handler = (
        logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if level != "debug":
        handler.addFilter(_without_bodies)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _without_bodies(record: logging.LogRecord) -> bool:
    """pygls logs what it sends at INFO, and what it could not handle at ERROR: keep that something happened."""
    if not record.name.startswith("pygls"):
        return True
    record.args = tuple(type(argument).__name__ for argument in record.args) if isinstance(record.args, tuple) else ()
    if record.exc_info and record.exc_info[0]:
        kind, _, where = record.exc_info
        record.exc_info = kind, RuntimeError(f"{kind.__name__} (its message is withheld)"), where
    return record.levelno >= logging.WARNING


def _client(loading: dict[str, Any]) -> WorkerClient:
    from lsp_server.http_worker_client import HttpWorkerClient  # httpx costs 0.1 s, after initialize
    from lsp_server.worker_spec import WorkerSpec

    return HttpWorkerClient(WorkerSpec(**loading))
