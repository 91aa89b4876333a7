"""What a key costs the server itself, 10,000 lines open and others: ``python -m tests.benchmarks.keystroke``."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from inference.protocol import InfillRequest
from lsp_server.context.contexts import Contexts
from lsp_server.documents import Documents
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.suggestions.suggest import suggest
from lsp_server.syntax.trees import SyntaxTrees
from tests.benchmarks.long_file import source
from tests.support.scripted_client import Script, ScriptedClient

URI = "file:///large.py"
KEYS = 300
OPEN = ("shlex", "textwrap", "statistics")
BLOCK = """class Shelf{n}:
    def total(self, items: list[int]) -> int:
        count = 0
        for item in items:
            count += item
        return count


"""


async def measure() -> list[float]:
    """Milliseconds of each key: the change applied, the gap found, the request made, the fill checked."""
    documents, trees, contexts, client = (
        Documents(),
        SyntaxTrees(),
        Contexts(),
        ScriptedClient(Script(fills=("count",))),
    )
    options = Options(context_snippets=400)
    for module in OPEN:
        documents.open(DocumentSnapshot(f"file:///{module}.py", 0, "python", source(module)))
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
        others = documents.others(URI)
        await suggest(snapshot, offset, client=client, options=options, trees=trees, contexts=contexts, others=others)
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
