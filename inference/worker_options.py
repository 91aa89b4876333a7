"""What the worker was told on its command line. Standard library only: it is read before anything can be missing."""

from __future__ import annotations

import argparse
import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

KEEP_ALIVE_S = 1800.0
UNLOAD_AFTER_S = 600.0
PRECISIONS = ("auto", "bf16", "fp8", "fp32")


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Where to listen, what to load, how long to stay.

    Exactly one of ``socket`` (a path) and ``http`` (a loopback host and a port, 0 for any) is given. ``model`` None
    means the embedded model; else it is a checkpoint folder, or a hub id (``owner/name``) that is in the cache.
    ``adapter`` is the folder of a LoRA adapter; ``device`` as torch names it, None the best; ``precision`` one of
    :data:`PRECISIONS`. ``keep_alive_s`` is how many seconds without a request the worker stays, ``unload_after_s`` how
    many it keeps the weights; 0 is for ever.
    """

    endpoint: Path
    socket: Path | None = None
    http: tuple[str, int] | None = None
    model: Path | None = None
    adapter: Path | None = None
    device: str | None = None
    precision: str = "auto"
    keep_alive_s: float = KEEP_ALIVE_S
    unload_after_s: float = UNLOAD_AFTER_S
    log_level: str = "info"

    @property
    def model_name(self) -> str:
        """The model's name for as long as the engine has not said a better one."""
        model = "lacuna-default" if self.model is None else self.model.name
        return f"{model}+{self.adapter.name}" if self.adapter else model


def read_options(arguments: Sequence[str] | None = None) -> WorkerOptions:
    """Read the command line; exits with 2 and a sentence if it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m inference", description="Hold a model and serve it to this user.")
    parser.add_argument("--endpoint", type=Path, required=True, help="file that will say where the worker listens")
    address = parser.add_mutually_exclusive_group(required=True)
    address.add_argument("--socket", type=Path, help="listen on this Unix socket")
    address.add_argument("--http", type=loopback, metavar="HOST:PORT", help="listen on loopback TCP; port 0 is any")
    parser.add_argument("--model", type=Path, help="checkpoint folder or cached hub id (default: the embedded model)")
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="LoRA adapter in PEFT's format")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: the best there is)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of the weights in memory")
    parser.add_argument("--keep-alive", type=seconds, default=KEEP_ALIVE_S, metavar="SECONDS", help="0: for ever")
    parser.add_argument(
        "--unload-after", type=seconds, default=UNLOAD_AFTER_S, metavar="SECONDS", help="free the weights; 0: never"
    )
    parser.add_argument("--log-level", choices=["debug", "info", "warning"], default="info")
    given = vars(parser.parse_args(arguments))
    return WorkerOptions(keep_alive_s=given.pop("keep_alive"), unload_after_s=given.pop("unload_after"), **given)


def seconds(text: str) -> float:
    """Read a duration: a number of seconds, 0 or more."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 on")
    return value


def loopback(address: str) -> tuple[str, int]:
    """Read ``HOST:PORT``; the host must be this machine's loopback, for the worker serves its own user only."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname or "", parts.port
        host = "127.0.0.1" if host == "localhost" else host
        if port is not None and ipaddress.ip_address(host).is_loopback:
            return host, port
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{address!r} is not a loopback address with a port, such as 127.0.0.1:8123")
