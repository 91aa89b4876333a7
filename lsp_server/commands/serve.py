"""``lacuna serve``: the language server, on standard input and output."""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from lsp_server.commands.errors import CommandError
from lsp_server.commands.model_options import add_model_options, model_choice
from lsp_server.trace import Trace
from lsp_server.worker_client import WorkerClient

MAX_LOG_BYTES = 4 * 1024 * 1024

REQUEST_FAILED = -32803
"""LSP's code of an answer that only says why there is nothing. A literal: to import lsprotocol takes 0.1 s."""

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
        server = create_server(lambda: _client(model_choice(arguments)), Trace(file))
        server.start_io(stdout=stdout)
    return server.exit_code


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


class LogFile(RotatingFileHandler):
    """A log that only its owner may read, and that never takes more than twice ``MAX_LOG_BYTES``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_LOG_BYTES, backupCount=1, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> Any:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=private)


def log_to(file: Path | None, level: str) -> None:
    """Log to ``file``, or to stderr. Above debug no message holds text of the user's. Raises :class:`CommandError`."""
    try:
        handler: logging.Handler = LogFile(file) if file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}") from None
    handler.addFilter(is_news)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if level != "debug":
        handler.addFilter(_without_text)
    logging.raiseExceptions = False  # a full disk, or nobody at the end of stderr, is no reason for a traceback
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record is more than pygls telling of a request that was refused: that is an answer, and no fault."""
    error = record.exc_info[1] if record.exc_info else None
    return not (record.name.startswith("pygls") and getattr(error, "code", None) == REQUEST_FAILED)


def _without_text(record: logging.LogRecord) -> bool:
    """Keep that something happened and where: what an exception says, and what libraries log, may quote the buffer."""
    if record.exc_info and record.exc_info[0]:
        kind, _, where = record.exc_info
        record.exc_info = kind, RuntimeError(f"{kind.__name__} (its message is withheld)"), where
    if record.name.startswith("asyncio"):
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
    if not record.name.startswith("pygls"):
        return True
    record.args = tuple(type(argument).__name__ for argument in record.args) if isinstance(record.args, tuple) else ()
    return record.levelno >= logging.WARNING


def _client(loading: dict[str, Any]) -> WorkerClient:
    from lsp_server.http_worker_client import HttpWorkerClient  # httpx costs 0.1 s, after initialize
    from lsp_server.worker_spec import WorkerSpec

    return HttpWorkerClient(WorkerSpec(**loading))
