"""``python -m inference``: the worker with the local engine."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from inference.engines.base import Engine, EngineError
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
    folder = options.model or Path(__file__).parent / "default_model"
    if not folder.is_dir():
        raise EngineError(f"there is no model folder {folder}; name one with --model")
    # Before torch loads its OpenMP: threads that spin while they wait starve the editor, and each other, on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from inference.engines.local import LocalEngine
    except ImportError as error:
        raise EngineError(f"the local engine cannot run ({error}); {INSTALL}") from error
    return LocalEngine(folder)


if __name__ == "__main__":
    sys.exit(main(create_local_engine))
