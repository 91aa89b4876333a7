"""Which worker is wanted, and where its files lie."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from lsp_server.runtime_dir import log_directory, runtime_directory, socket_directory


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """Everything there is to say about a worker before it runs.

    ``model`` is a checkpoint folder or the hub id of a downloaded one, None the embedded model; ``adapter`` the folder
    of a LoRA adapter. Each model, adapter, device and precision has its own worker. ``http`` (``HOST:PORT``, loopback)
    asks for TCP instead of a Unix socket. ``keep_alive_s`` seconds without a request end it, ``unload_after_s`` free
    its weights; 0: never.
    ``command`` starts it: an interpreter that has the ``local`` extra, ``-P`` lest the current directory shadow the
    package. ``start_limit_s`` is how long it may take to listen (not to load), ``hung_limit_s`` how long a running one
    may stay silent before it is replaced; both in seconds.
    """

    model: Path | None = None
    adapter: Path | None = None
    device: str | None = None
    precision: str = "auto"
    http: str | None = None
    keep_alive_s: float = 1800.0
    unload_after_s: float = 600.0
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "inference")
    log_level: str = "info"
    start_limit_s: float = 30.0
    hung_limit_s: float = 20.0
    max_starts_per_minute: int = 4

    @property
    def model_name(self) -> str:
        """The model's name until the worker says a better one."""
        model = "lacuna-default" if self.model is None else self.model.name
        return f"{model}+{self.adapter.name}" if self.adapter else model

    @property
    def key(self) -> str:
        """A short name for this worker's endpoint, lock, socket and log."""
        if not self.loading:
            return "default"
        named = self.loading[1:] if self.model is not None else ("", *self.loading)
        return hashlib.sha256(b"\0".join(map(os.fsencode, named))).hexdigest()[:12]

    @property
    def loading(self) -> tuple[str, ...]:
        """The part of the worker's command line that says what it loads, and how: nothing for all defaults."""
        model = [] if self.model is None else ["--model", _place(self.model)]
        adapter = [] if self.adapter is None else ["--adapter", str(self.adapter.expanduser().resolve())]
        device = [] if self.device is None else ["--device", self.device]
        precision = [] if self.precision == "auto" else ["--precision", self.precision]
        return (*model, *adapter, *device, *precision)


def is_hub_id(model: Path) -> bool:
    """Whether it can only be a hub id (``owner/name``), not a folder."""
    return not model.expanduser().is_dir() and re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", model.as_posix()) is not None


def _place(model: Path) -> str:
    return model.as_posix() if is_hub_id(model) else str(model.expanduser().resolve())


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
