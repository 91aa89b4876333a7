"""What a key costs the server itself in a file of 10,000 lines: ``python -m tests.benchmarks.keystroke``."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from inference.protocol import InfillRequest
from lsp_server.documents import Documents
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.suggestions.suggest import suggest
from lsp_server.syntax.trees import SyntaxTrees
from tests.support.scripted_client import Script, ScriptedClient

URI = "file:///large.py"
KEYS = 300
BLOCK = """class Shelf{n}:
    def total(self, items: list[int]) -> int:
        count = 0
        for item in items:
            count += item
        return count


"""


async def measure() -> list[float]:
    """Milliseconds of each key: the change applied, the gap found, the request made, the fill checked."""
    documents, trees, client = Documents(), SyntaxTrees(), ScriptedClient(Script(fills=("count",)))
    text = "".join(BLOCK.format(n=n) for n in range(10_000 // BLOCK.count("\n")))
    documents.open(DocumentSnapshot(URI, 0, "python", text))
    line = text[: len(text) // 2].count("\n") // 8 * 8 + 5
    spent = []
    for key in range(KEYS):
        character = len("        return count") + key
        began = time.perf_counter()
        documents.change(URI, [Change("x", ((line, character), (line, character)))], key + 1, Encoding.UTF16)
        snapshot = documents.get(URI)
        assert snapshot
        offset = snapshot.lines.offset(line, character + 1, Encoding.UTF16)
        await suggest(snapshot, offset, client=client, options=Options(), trees=trees)
        spent.append((time.perf_counter() - began) * 1000)
    assert all(isinstance(request, InfillRequest) for request in client.requests)
    assert len(client.requests) == KEYS
    return spent


if __name__ == "__main__":
    first, *others = asyncio.run(measure())
    hundredths = statistics.quantiles(others, n=100)
    print(
        f"first key {first:.1f} ms; then p50 {hundredths[49]:.1f} ms, p99 {hundredths[98]:.1f} ms of {len(others)} keys"
    )
    sys.exit(0)
