"""``lacuna model list|pull|show``: the models on this disk, and how another one gets there.

The work is done by ``python -m inference.hub`` in the worker's interpreter: this process never loads its libraries.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from lsp_server.commands.errors import CommandError

HUB = (sys.executable, "-P", "-m", "inference.hub")
ANSWER_LIMIT_S = 120.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("model", help="list, download and look at models")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the embedded model, those in FOLDERS and in the hub's cache")
    listing.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="a checkpoint, or a folder of them")
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    listing.set_defaults(run=_list)
    pull = actions.add_parser("pull", help="download a model from the hub, or go on with it; asks first")
    pull.add_argument("repo", metavar="REPO", help="such as google/diffusiongemma-26B-A4B-it")
    pull.add_argument("--revision", default="main", help="a branch, tag or commit (default: main)")
    pull.add_argument("--yes", action="store_true", help="do not ask")
    pull.set_defaults(run=_pull)
    show = actions.add_parser("show", help="the essentials of a model")
    show.add_argument("model", nargs="?", metavar="MODEL", help="a folder or hub id (default: the embedded model)")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    show.set_defaults(run=_show)


def show_model(model: str | None) -> dict[str, Any]:
    """A model's essentials; None is the embedded one. Raises CommandError when there is none of that name here."""
    answer: dict[str, Any] = _ask("show", *([_place(model)] if model else []))
    return answer


def _list(arguments: argparse.Namespace) -> int:
    models = _ask("list", *(str(folder.expanduser().resolve()) for folder in arguments.folders))
    if arguments.json:
        print(json.dumps(models, ensure_ascii=False))
        return 0
    rows = [("model", "size", "precision", "path", "")]
    for model in models:
        problem = f"  incomplete: {model['problem']}" if model["problem"] else ""
        rows.append((model["name"], _size(model["size_bytes"]), model["precision"], model["path"], problem))
    name, size, precision = (max(len(row[column]) for row in rows) for column in range(3))
    for row in rows:
        print(f"{row[0]:<{name}}  {row[1]:>{size}}  {row[2]:<{precision}}  {row[3]}{row[4]}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    model = show_model(arguments.model)
    if arguments.json:
        print(json.dumps(model, ensure_ascii=False))
        return 0
    for name, value in _essentials(model):
        print(f"{name:<18}{value}")
    for paragraph in (model["summary"], "\n".join(model["figures"])):
        if paragraph:
            print(f"\n{paragraph}")
    return 0


def _essentials(model: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "name", model["name"]
    yield "path", model["path"]
    yield "complete", "yes" if not model["problem"] else f"no: {model['problem']}"
    yield "size", _size(model["size_bytes"])
    yield "parameters", f"{model['parameters'] / 1e6:,.1f} million in {model['precision'] or 'an unknown precision'}"
    experts = f", {model['experts_per_token']} of {model['experts']} experts" if model["experts"] > 1 else ""
    yield "shape", f"{model['layers']} layers, hidden size {model['hidden_size']}{experts}"
    yield "vocabulary", f"{model['vocabulary']:,} tokens"
    yield "canvas", f"{model['canvas_length']} tokens"
    yield "context", f"{model['max_positions']:,} tokens"
    yield "format", model["format"]
    floor = model["confidence_floor"]
    yield "confidence floor", "none of its own" if floor is None else f"{floor:g}"
    yield "licence", model["licence"] or "not stated there"


def _pull(arguments: argparse.Namespace) -> int:
    wanted = (arguments.repo, "--revision", arguments.revision)
    plan = _ask("plan", *wanted)
    licence = f", licence {plan['licence']}" if plan["licence"] else ""
    missing, free = plan["missing_bytes"], plan["free_bytes"]
    print(f"{plan['repo']} at {plan['revision']} ({plan['commit'][:12]}){licence}: {_size(plan['total_bytes'])} in")
    print(f"{len(plan['files'])} files, {_size(missing)} to download, {_size(free)} free at {plan['cache']}")
    if missing > free:
        raise CommandError(
            f"{plan['repo']} needs {_size(missing)} and {_size(free)} are free at {plan['cache']}; "
            "free some, or set HF_HUB_CACHE to a folder on another disk"
        )
    if missing and not arguments.yes and not _agreed():
        raise CommandError("nothing was downloaded")
    folder = _downloaded("pull", *wanted)
    print(f"{folder}\nuse it: lacuna serve --model {plan['repo']}")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to be asked; say --yes to download", exit_code=2)
    return input("Download? [y/N] ").strip().lower() in ("y", "yes")


def _downloaded(*arguments: str) -> str:
    """Run the download with a progress bar; return the folder."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    folder = ""
    with (
        _running(*arguments) as process,
        Progress(
            *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
        ) as bar,
    ):
        task = bar.add_task("downloading", total=None)
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            folder = told.get("folder", folder)
            if "done" in told:
                bar.update(task, completed=told["done"], total=told["total"], description=told["file"] or "done")
    return folder


def _ask(*arguments: str) -> Any:
    """The answer of ``python -m inference.hub``. Raises CommandError with its sentence."""
    try:
        with _running(*arguments) as process:
            answer, _ = process.communicate(timeout=ANSWER_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise CommandError(f"the hub did not answer within {ANSWER_LIMIT_S:.0f} s; try again") from None
    return json.loads(answer)


@contextmanager
def _running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The process, ended in the end. Raises CommandError with the last line that it said when it could not."""
    with (
        tempfile.TemporaryFile("w+") as said,  # a pipe that nobody reads would fill up
        subprocess.Popen([*HUB, *arguments], stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            yield process
            code = process.wait(ANSWER_LIMIT_S)
        finally:
            process.kill()
        if code != 0:
            said.seek(0)
            raise CommandError((said.read().strip().splitlines() or ["the worker's interpreter said nothing"])[-1])


def _place(model: str) -> str:
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"
