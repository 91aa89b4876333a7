"""What proposals cost at a key: 10,000 lines and 1 MB of other text, and texts that are meant to hurt."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator

from lsp_server.context.surroundings import Surroundings
from lsp_server.proposals.propose import propose
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import find_gap
from tests.benchmarks.proposals.cases import File

LINES, OTHERS = 10_000, 1_000_000
Timing = tuple[str, float, float, float]
"""What was timed; p50, p99 and the most, in milliseconds of processor time: others may be at work."""


def speed(files: list[File], keys: int = 400) -> Iterator[Timing]:
    """Real text typed character by character at random lines, then the texts that hurt."""
    texts = [file.snapshot.text for file in files]
    document = "".join(texts).split("\n")[:LINES]
    rest = "".join(texts)[-OTHERS:]
    others = tuple(_document(rest[start : start + 40_000], f"file:///{start}.py") for start in range(0, OTHERS, 40_000))
    yield "10,000 lines, 1 MB of others", *_timed("\n".join(document), others, keys)
    yield "one line repeated, 5 MB", *_timed("    self.value = value\n" * 230_000, others, keys // 4)
    yield "one line of 2 MB", *_timed("x = [" + "1, " * 700_000, others, keys // 4)
    yield "nothing but line ends", *_timed("\n" * 500_000, others, keys // 4)
    yield "nothing but spaces, 1 MB", *_timed(" " * 1_000_000, others, keys // 4)
    yield "short lines, 2 MB", *_timed("a(\n" * 700_000, others, keys // 4)


def _timed(text: str, others: tuple[DocumentSnapshot, ...], keys: int) -> tuple[float, float, float]:
    rng, spent = random.Random(0), []
    document = _document(text, "file:///document.py")
    for _ in range(keys // 8):
        line = rng.randrange(len(document.lines))
        start, end = document.lines.start(line), document.lines.end(line)
        for typed in range(start, end + 1)[-8:]:
            snapshot = _document(text[:typed] + text[end:], document.uri)
            gap = find_gap(snapshot, typed, None, invoked=True)
            assert gap
            began = time.process_time()
            propose(snapshot, gap, Surroundings(nearby=others))
            spent.append((time.process_time() - began) * 1000)
    return statistics.median(spent), statistics.quantiles(spent, n=100)[98], max(spent)


def _document(text: str, uri: str) -> DocumentSnapshot:
    return DocumentSnapshot(uri, 0, "python", text)
