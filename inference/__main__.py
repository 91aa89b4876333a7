"""``python -m inference``: the worker with the local engine."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from inference.engines.base import Engine, EngineError
from inference.hub_cache import find_model
from inference.log_file import start_log
from inference.worker_options import WorkerOptions, read_options

INSTALL = "install what it needs with: pip install 'lacuna-lsp[local]'"


def main(create_engine: Callable[[WorkerOptions], Engine]) -> int:
    """Run the worker around the engine that ``create_engine`` makes; return its exit code."""
    options = read_options()
    start_log(options.log_level)
    try:
        from inference.worker import run_worker
    except ImportError as error:
        logging.error("the worker cannot run (%s); %s", error, INSTALL)
        return 3
    return run_worker(options, lambda: create_engine(options))


def create_local_engine(options: WorkerOptions) -> Engine:
    """Import torch and make the local engine. Raises :class:`EngineError` when something is not installed."""
    folder = find_model(options.model or Path(__file__).parent / "default_model")
    # Before torch loads its OpenMP: threads that spin while they wait starve the editor, and each other, on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Kernels made for each length of a prompt: a thousand of them, as both libraries keep unasked, are a gigabyte.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "32")
    try:
        from inference.checkpoint import load_checkpoint
        from inference.device import choose_device
        from inference.engines.local import LocalEngine
    except ImportError as error:
        raise EngineError(f"the local engine cannot run ({error}); {INSTALL}") from error
    device = choose_device(options.device)
    load = partial(load_checkpoint, device=device, precision=options.precision, adapter=options.adapter)
    return LocalEngine(folder, load=load)


if __name__ == "__main__":
    sys.exit(main(create_local_engine))
