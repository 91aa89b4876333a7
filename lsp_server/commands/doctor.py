"""``lacuna doctor``: what is installed, which device, which model, is the worker up."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console
from rich.table import Table

from lsp_server.commands.errors import CommandError
from lsp_server.commands.model import show_model
from lsp_server.commands.model_options import add_model_options, model_choice

SERVER_PACKAGES = ("pygls", "lsprotocol", "httpx", "pathspec", "tree-sitter")
WORKER_PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "starlette", "uvicorn")
INSTALL_LOCAL = "pip install 'lacuna-lsp[local]'"

_PROBE_LIMIT_S = 60


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``problem`` says what to do, or is empty when all is well."""

    subject: str
    value: str
    problem: str = ""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("doctor", help="say what is installed, which device and model, is the worker up")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; 1 when it holds a problem."""
    findings = list(examine(model_choice(arguments)))
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark = "[red]✗[/]" if finding.problem else "[green]✓[/]"
        table.add_row(
            mark, finding.subject, finding.value + (f"  [red]{finding.problem}[/]" if finding.problem else "")
        )
    Console(soft_wrap=True).print(table)
    return 1 if any(finding.problem for finding in findings) else 0


def examine(choice: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at one thing after another; ``choice`` says which worker is meant, as :func:`model_choice` gives it."""
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("lacuna-lsp", _version("lacuna-lsp") or "run from a checkout")
    for package in SERVER_PACKAGES:
        found = _version(package)
        yield Finding(package, found or "missing", "" if found else "pip install lacuna-lsp")
    missing = [package for package in WORKER_PACKAGES if not _version(package)]
    for package in WORKER_PACKAGES:
        yield Finding(package, _version(package) or "missing", INSTALL_LOCAL if package in missing else "")
    if not missing:
        yield from _devices()
    yield from _model(choice)
    yield from _worker(choice)


def _devices() -> Iterator[Finding]:
    # Asked in another process: this one never loads torch.
    try:
        done = subprocess.run(
            [sys.executable, "-m", "inference.device"], capture_output=True, text=True, timeout=_PROBE_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        yield Finding("device", "unknown", f"torch did not answer within {_PROBE_LIMIT_S} s")
        return
    if done.returncode != 0:
        yield Finding("device", "unknown", (done.stderr.strip().splitlines() or ["torch cannot be imported"])[-1])
        return
    for device in json.loads(done.stdout):
        size = f"{device['memory_bytes'] / 2**30:.0f} GiB"
        yield Finding(
            "device", f"{device['kind']}: {device['name']}, {size}, bf16 {'yes' if device['bfloat16'] else 'no'}"
        )


def _model(choice: Mapping[str, Any]) -> Iterator[Finding]:
    given = choice.get("model")
    try:
        model = show_model(None if given is None else str(given))
    except CommandError as error:
        yield Finding("model", str(given), str(error))
        return
    megabytes = model["size_bytes"] / 1e6
    yield Finding("model", f"{model['name']} at {model['path']} ({megabytes:,.0f} MB)", model["problem"])
    adapter = choice.get("adapter")
    if adapter is not None:
        is_one = (adapter.expanduser() / "adapter_config.json").is_file()
        yield Finding("adapter", str(adapter), "" if is_one else "no adapter_config.json in that folder")


def _worker(choice: Mapping[str, Any]) -> Iterator[Finding]:
    from lsp_server.lifecycle import LifecycleError, WorkerSpec, status

    try:
        found = status(WorkerSpec(**choice))
    except LifecycleError as error:
        yield Finding("worker", "unknown", str(error))
        return
    if found is None:
        yield Finding("worker", "not running; the first request starts it")
    else:
        endpoint, health = found
        yield Finding("worker", f"{health.state.value}, pid {endpoint.pid}, {health.model} on {health.device}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
