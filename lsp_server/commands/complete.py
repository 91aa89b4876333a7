"""``lacuna complete FILE --at LINE:COL``: one gap filled from the shell, through the very code the editors use."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from inference.protocol import InfillResult, Timings, Usage, encode
from lsp_server.commands.canvas_view import CanvasView
from lsp_server.commands.errors import CommandError
from lsp_server.commands.model_options import add_model_options, model_choice
from lsp_server.commands.ready_worker import ready_worker
from lsp_server.context.nearby import nearby_files
from lsp_server.context.surroundings import Surroundings
from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.options import Options
from lsp_server.positions import Encoding, LineIndex
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.source_file import SourceFile, SourceFileError
from lsp_server.suggestions.suggest import Suggestions, suggest
from lsp_server.syntax.languages import language_id_of

CANDIDATES = 4
"""Denoised side by side; the most confident one that passes the filters is taken."""

DEADLINE_MS = 30_000
"""Nobody types meanwhile, so a slow machine may take its time."""

_OPTIONS = Options(confidence_floor=0.0, deadline_ms=DEADLINE_MS, candidates=CANDIDATES)
"""Asked for by name, so even a doubtful fill is shown, with its confidence; as-you-type ghost text has a floor."""

_NOT_ASKED = InfillResult(
    choices=(),
    usage=Usage(prompt_tokens=0, cached_tokens=0, canvas_tokens=0, denoising_steps=0),
    timings_ms=Timings(queue=0, encode=0, denoise=0, total=0),
    model="",
    engine="",
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("complete", help="fill the gap at a position of a file")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--at", required=True, metavar="LINE:COL", help="1-based; columns are Unicode code points")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--visual", action="store_true", help="show the canvas denoising, step by step")
    parser.add_argument("--write", action="store_true", help="write the fill into the file")
    add_model_options(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="repeatable noise")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fill one gap; print it, and write it if asked. A file that may not be read is not opened."""
    file = Path(os.path.abspath(arguments.file))  # noqa: PTH100 - a link is excluded by its own name as well
    exclusions = Exclusions([_project(file)])
    if silence := exclusions.why_uri(file.as_uri(), _OPTIONS):
        _tell(Suggestions(silence=silence), LineIndex(""), arguments)
        return 0
    try:
        source = SourceFile.read(arguments.file)
    except SourceFileError as error:
        raise CommandError(str(error)) from None
    snapshot = DocumentSnapshot(file.as_uri(), 0, language_id_of(source.path), source.text)
    offset = _offset(source.path, snapshot.lines, arguments.at)
    found = asyncio.run(_fill(snapshot, offset, exclusions, arguments))
    _tell(found, snapshot.lines, arguments)
    if found.items and arguments.write:
        best = found.items[0]
        try:
            source.write(source.text[: best.start_offset] + best.text + source.text[best.end_offset :])
        except SourceFileError as error:
            raise CommandError(str(error)) from None
    return 0


def _tell(found: Suggestions, lines: LineIndex, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(_as_json(found, lines), ensure_ascii=False))
    elif found.items and not arguments.visual:
        print(found.items[0].text)
    if not found.items:
        print(f"lacuna: nothing to suggest at {arguments.at}: {found.silence}", file=sys.stderr)


async def _fill(
    snapshot: DocumentSnapshot, offset: int, exclusions: Exclusions, arguments: argparse.Namespace
) -> Suggestions:
    surroundings = Surroundings(nearby=nearby_files(snapshot, exclusions, _OPTIONS))
    async with ready_worker(**model_choice(arguments)) as client:
        ask = partial(
            suggest,
            snapshot,
            offset,
            client=client,
            options=_OPTIONS,
            invoked=True,
            seed=arguments.seed,
            surroundings=surroundings,
            exclusions=exclusions,
        )
        return await (_drawn(ask, snapshot, offset, arguments) if arguments.visual else ask())


async def _drawn(
    ask: Callable[..., Awaitable[Suggestions]], snapshot: DocumentSnapshot, offset: int, arguments: argparse.Namespace
) -> Suggestions:
    """Show the canvas denoising; where JSON has the standard output, on stderr."""
    console = Console(stderr=arguments.json)
    view = CanvasView(f"{arguments.file}:{arguments.at}", snapshot.text[:offset], snapshot.text[offset:])
    with Live(view.waiting(), console=console, auto_refresh=False) as live:
        found = await ask(on_draft=lambda draft: live.update(view.draft(draft), refresh=True))
        best = found.items[0].text if found.items else ""
        live.update(view.done(best, _note(found)), refresh=True)
    if not console.is_terminal:
        console.print()  # rich ends the last picture without a line break there
    return found


def _project(file: Path) -> Path:
    """The repository that holds a file; else the folder one is in."""
    return next((folder for folder in file.parents if os.path.lexists(folder / ".git")), Path.cwd())


def _offset(path: Path, lines: LineIndex, at: str) -> int:
    """Offset of a 1-based LINE:COL. Raises CommandError when it is not one, or not in the file."""
    match = re.fullmatch(r"(\d+):(\d+)", at)
    line, column = (int(match[1]), int(match[2])) if match else (0, 0)
    if line < 1 or column < 1:
        raise CommandError(f"--at {at!r} is not LINE:COL, both counted from 1", exit_code=2)
    if line > len(lines):
        raise CommandError(f"--at {at}: {path} has {len(lines)} lines", exit_code=2)
    if column > (columns := len(lines.content(line - 1))) + 1:
        raise CommandError(f"--at {at}: line {line} of {path} has {columns} columns", exit_code=2)
    return lines.offset(line - 1, column - 1, Encoding.UTF32)


def _position(lines: LineIndex, offset: int) -> dict[str, int]:
    line, column = lines.position(offset, Encoding.UTF32)
    return {"line": line + 1, "column": column + 1}


def _note(found: Suggestions) -> str:
    if not found.items or found.result is None:
        return f"nothing to suggest: {found.silence}"
    usage, timings = found.result.usage, found.result.timings_ms
    return (
        f"confidence {found.items[0].confidence:.2f} · {usage.denoising_steps} steps · "
        f"{timings.total:.0f} ms · {found.result.model}"
    )


def _as_json(found: Suggestions, lines: LineIndex) -> dict[str, Any]:
    body = encode(found.result or _NOT_ASKED)
    return {
        "choices": [
            {
                "fills": [
                    {
                        "text": item.text,
                        "range": {
                            "start": _position(lines, item.start_offset),
                            "end": _position(lines, item.end_offset),
                        },
                    }
                ],
                "confidence": item.confidence,
                "finish_reason": item.finish_reason.value,
            }
            for item in found.items
        ],
        **{name: body[name] for name in ("usage", "timings_ms", "model", "engine")},
    }
