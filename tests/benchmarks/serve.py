"""A file of 10,000 lines being typed into, through the real ``lacuna serve``: ``python -m tests.benchmarks.serve``.

A worker of its own with the embedded model, other buffers open, context snippets on. Asks at every key, each after the
answer to the one before it, and tells how much of each prompt the worker had read already.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lsp_server.bench.figures import percentile
from lsp_server.bench.recording import Key, read_recording
from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot
from tests.benchmarks.long_file import long_file, source
from tests.support.editor import Editor, editor

RECORDING = Path(__file__).parents[1] / "data/typing/long_file.json"
OPEN = ("shlex", "textwrap", "statistics")
URI = "file:///project/long.py"
WARM = 0.95
INVOKED, AUTOMATIC = 1, 2
LACUNA = (sys.executable, "-m", "lsp_server")


@dataclass(frozen=True)
class Measured:
    """What one key cost; the model was not asked if ``prompt_tokens`` is 0. Times are milliseconds."""

    key: Key
    prompt_tokens: int
    cached_tokens: int
    answer_ms: float
    stages: dict[str, float]

    @property
    def cached(self) -> float:
        """The share of the prompt that was not read again."""
        return self.cached_tokens / self.prompt_tokens


@contextmanager
def room() -> Iterator[Path]:
    """A folder with a runtime directory in it; the worker started there ends with it."""
    with tempfile.TemporaryDirectory(prefix="lacuna-serve-") as folder:
        os.environ |= {"LACUNA_RUNTIME_DIR": f"{folder}/run", "LACUNA_LOG_DIR": f"{folder}/log"}
        try:
            yield Path(folder)
        finally:
            subprocess.run([*LACUNA, "worker", "stop"], timeout=60, check=False, capture_output=True)


async def measure(
    folder: Path, *, kind: int = AUTOMATIC, speed: float = 1.0, snippets: int = 400, limit: int | None = None
) -> list[Measured]:
    """Type the recording in its own time divided by ``speed``, or as fast as the answers come."""
    recording, trace = read_recording(RECORDING), folder / "trace.jsonl"
    keys = recording.keys[:limit]
    command = [*LACUNA, "serve", "--stdio", "--trace", str(trace), "--log-file", str(folder / "serve.log")]
    options = {"confidenceFloor": 0, "deadlineMs": 25_000, "contextSnippets": snippets}
    async with editor(command=command, options=options) as one:
        await _ready(one)
        await _look_around(one)
        text, at = long_file()
        snapshot = DocumentSnapshot(URI, 1, recording.language_id, text)
        one.open(text, URI)
        await _ask(one, snapshot, at, INVOKED)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            began, bar = time.perf_counter(), progress.add_task("typing", total=len(keys))
            for key in keys:
                await asyncio.sleep(max(0.0, key.t_ms / 1000 / speed - (time.perf_counter() - began)))
                snapshot = _press(one, snapshot, key, at)
                await _ask(one, snapshot, at + key.cursor, kind)
                progress.update(bar, advance=1)
    traced = {entry["version"]: entry for line in trace.read_text().splitlines() if (entry := json.loads(line))}
    return [_measured(key, traced[number]) for number, key in enumerate(keys, 2)]


async def _ready(one: Editor) -> None:
    while (status := await one.heard("lacuna/status")).state != "ready":
        assert status.state != "error", status.message


async def _look_around(one: Editor) -> None:
    """Open other files and ask in one of them, as somebody does who has worked for a while."""
    for module in OPEN:
        one.open(source(module), f"file:///project/{module}.py")
    text = source(OPEN[0])
    snapshot = DocumentSnapshot(f"file:///project/{OPEN[0]}.py", 1, "python", text)
    await _ask(one, snapshot, text.index("\n", len(text) // 2), INVOKED)


def _press(one: Editor, snapshot: DocumentSnapshot, key: Key, at: int) -> DocumentSnapshot:
    start, end = (snapshot.lines.position(at + offset, Encoding.UTF16) for offset in (key.at, key.at + key.delete))
    version = snapshot.version + 1
    one.client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(uri=snapshot.uri, version=version),
            [
                types.TextDocumentContentChangePartial(
                    range=types.Range(types.Position(*start), types.Position(*end)), text=key.insert
                )
            ],
        )
    )
    return snapshot.edited([Change(key.insert, (start, end))], version, Encoding.UTF16)


async def _ask(one: Editor, snapshot: DocumentSnapshot, offset: int, kind: int) -> None:
    await one.complete(*snapshot.lines.position(offset, Encoding.UTF16), snapshot.uri, kind)


def _measured(key: Key, entry: dict[str, Any]) -> Measured:
    usage = entry.get("usage", {"prompt_tokens": 0, "cached_tokens": 0})
    return Measured(key, usage["prompt_tokens"], usage["cached_tokens"], entry["ms"], entry.get("worker_ms", {}))


def summary(measured: list[Measured]) -> dict[str, Any]:
    """The figures that the README quotes."""
    asked = [one for one in measured if one.prompt_tokens]
    return {
        "keys": len(measured),
        "asked": len(asked),
        "least_cached": min(one.cached for one in asked),
        "warm": sum(one.cached >= WARM for one in asked),
        "answer_ms": {f"p{percent}": percentile([one.answer_ms for one in asked], percent) for percent in (50, 95)},
        "encode_ms": {
            f"p{percent}": percentile([one.stages["encode"] for one in asked], percent) for percent in (50, 95)
        },
    }


def main() -> int:
    """Print every key and the summary; 1 when a prompt was read again."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serve", description=__doc__)
    parser.add_argument("--invoked", action="store_true", help="ask for every key, also within a word; no debounce")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="type that many times as fast")
    parser.add_argument("--snippets", type=int, default=400, metavar="N", help="characters of other files (0: none)")
    parser.add_argument("--keys", action="store_true", help="print each key, not only the sums")
    arguments = parser.parse_args()
    kind = INVOKED if arguments.invoked else AUTOMATIC
    with room() as folder:
        measured = asyncio.run(measure(folder, kind=kind, speed=arguments.speed, snippets=arguments.snippets))
    if arguments.keys:
        table = Table("key", "inserted", "cached", "prompt", "share", "ms")
        for number, one in enumerate(measured, 1):
            share = f"{one.cached:.1%}" if one.prompt_tokens else ""
            figures = (str(one.cached_tokens), str(one.prompt_tokens), share, f"{one.answer_ms:.0f}")
            table.add_row(str(number), repr(one.key.insert or -one.key.delete), *figures)
        Console().print(table)
    found = summary(measured)
    print(json.dumps(found))
    return int(found["warm"] < found["asked"])


if __name__ == "__main__":
    sys.exit(main())
