"""What context costs on real files, to choose it and to read what is near: ``python -m tests.benchmarks.context DIR``.

DIR holds packages that nobody here wrote, such as site-packages; files of it play the open and the nearby ones.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

from lsp_server.bench.figures import percentile
from lsp_server.context.contexts import Contexts
from lsp_server.context.nearby import nearby_files
from lsp_server.context.surroundings import Surroundings
from lsp_server.context.window import Budget
from lsp_server.documents import Documents
from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.syntax.gaps import find_gap
from lsp_server.syntax.languages import language_id_of

OPTIONS = Options()


def milliseconds(durations: list[float]) -> dict[str, float]:
    return {f"p{percent}": round(1000 * percentile(durations, percent), 3) for percent in (50, 95, 99)}


def measure(folder: Path, number: int, suffix: str, seed: int) -> dict[str, object]:
    """Milliseconds of the processor: others on the machine do not count. Another open file changes each time."""
    chance = random.Random(seed)
    paths = sorted(path for path in folder.rglob(f"*{suffix}") if 2000 < path.stat().st_size < 200_000)
    exclusions = Exclusions([folder])
    times: dict[str, list[float]] = {"nearby": [], "why": [], "choose": [], "change": []}
    snippets = 0
    for path in chance.sample(paths, min(number, len(paths))):
        text = path.read_text(encoding="utf-8", errors="replace")
        snapshot = DocumentSnapshot(path.as_uri(), 1, language_id_of(path), text)
        began = time.thread_time()
        nearby = nearby_files(snapshot, exclusions, OPTIONS)
        times["nearby"].append(time.thread_time() - began)
        began = time.thread_time()
        exclusions.why(snapshot, OPTIONS)
        times["why"].append(time.thread_time() - began)
        contexts = Contexts()
        contexts.indexes.warm(nearby)
        for turn in range(5):
            offset = snapshot.lines.end(chance.randrange(len(snapshot.lines)))
            gap = find_gap(snapshot, offset, None, invoked=True)
            if gap is None:
                continue
            others = [replace(one, text=one.text + "\n") if at == turn else one for at, one in enumerate(nearby[:8])]
            surroundings = Surroundings(others, nearby[8:])
            contexts.forget(snapshot.uri)
            began = time.thread_time()
            window = contexts.window(snapshot, gap, Budget(snippets=2000), surroundings)
            times["choose"].append(time.thread_time() - began)
            snippets += bool(window.snippets)
        times["change"] += _typed(snapshot, chance)
    return {kind: milliseconds(found) for kind, found in times.items()} | {"files": number, "with_snippets": snippets}


def _typed(snapshot: DocumentSnapshot, chance: random.Random) -> list[float]:
    documents, found = Documents(), []
    documents.open(snapshot)
    line = chance.randrange(len(snapshot.lines))
    for column in range(20):
        began = time.thread_time()
        documents.change(snapshot.uri, [Change("x", ((line, column), (line, column)))], column + 2, Encoding.UTF16)
        found.append(time.thread_time() - began)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.context", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--files", type=int, default=100, metavar="N")
    parser.add_argument("--suffix", default=".py", metavar=".EXT")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.folder.resolve(), arguments.files, arguments.suffix, arguments.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
