"""The options by which a person says what the worker loads. They belong to the command line, never to a workspace."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

PRECISIONS = ("auto", "bf16", "fp8", "fp32")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, ``--adapter``, ``--device`` and ``--precision``."""
    parser.add_argument(
        "--model", type=Path, metavar="MODEL", help="a checkpoint folder, or the hub id of a downloaded model"
    )
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="a LoRA adapter in PEFT's format")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:1 (default: the best there is)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of the weights (default: auto)")


def model_choice(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was chosen, as the fields of a :class:`~lsp_server.worker_spec.WorkerSpec`."""
    return {name: getattr(arguments, name) for name in ("model", "adapter", "device", "precision")}
