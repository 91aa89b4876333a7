"""Which worker is wanted, and where its files lie."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from inference import protocol
from lsp_server.runtime_dir import log_directory, runtime_directory, socket_directory

EMBEDDED_MODEL = Path(protocol.__file__).with_name("default_model")
"""The checkpoint that comes with the package, which a worker loads when no other is named."""


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """Everything there is to say about a worker before it runs.

    ``model`` is a checkpoint folder, None the embedded model; each model has its own worker. ``http`` (``HOST:PORT``,
    loopback) asks for TCP instead of a Unix socket. ``keep_alive_s`` seconds without a request end it; 0: never.
    ``command`` starts it: an interpreter that has the ``local`` extra, ``-P`` lest the current directory shadow the
    package. ``start_limit_s`` is how long it may take to listen (not to load), ``hung_limit_s`` how long a running one
    may stay silent before it is replaced; both in seconds.
    """

    model: Path | None = None
    http: str | None = None
    keep_alive_s: float = 1800.0
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "inference")
    log_level: str = "info"
    start_limit_s: float = 30.0
    hung_limit_s: float = 20.0
    max_starts_per_minute: int = 4

    @property
    def model_name(self) -> str:
        """The model's name until the worker says a better one."""
        return "lacuna-default" if self.model is None else self.model.name

    @property
    def key(self) -> str:
        """A short name for this model's endpoint, lock, socket and log."""
        if self.model is None:
            return "default"
        return hashlib.sha256(os.fsencode(self.model.expanduser().resolve())).hexdigest()[:12]


@dataclass(frozen=True)
class WorkerFiles:
    """Where one worker's endpoint, lock and log lie."""

    endpoint: Path
    lock: Path
    log: Path

    @classmethod
    def of(cls, spec: WorkerSpec) -> WorkerFiles:
        """Find the places, and make their directories. Raises :class:`RuntimeDirError`."""
        runtime = runtime_directory()
        log = log_directory() / f"worker-{spec.key}.log"
        return cls(runtime / f"{spec.key}.json", runtime / f"{spec.key}.lock", log)

    def new_socket(self) -> Path:
        """Return a path that no other worker has: one that drains keeps its own. Raises :class:`RuntimeDirError`."""
        name = f"{self.endpoint.stem}-{secrets.token_hex(3)}.sock"
        return socket_directory(self.endpoint.parent, name) / name
