"""A suggestion typed along in a file of 10,000 lines, without a model: ``python -m tests.benchmarks.type_through``.

First what a key costs the server that the cache answers, the change included; then 10,000 keys off every suggestion,
and what they leave in memory.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import resource
import sys
import time
import tracemalloc
from dataclasses import replace

from inference.protocol import Priority
from lsp_server.bench.figures import percentile
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.session import Session
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.suggestions.suggest import Suggestions, suggest
from lsp_server.typing.flights import Answer, OnEarly, Source
from lsp_server.typing.question import Question
from lsp_server.typing.rhythm import Rhythm
from tests.benchmarks.long_file import long_file
from tests.support.typist import KnowingClient

URI = "file:///long.py"
BODY = "found = first(items)\n    for item in items:\n        if item:\n            found += item\n    return found"
HEAD = "def total(items):\n    "
HITS = 1000
KEYS = 10_000
SAMPLE = 250
"""The tree of the whole file comes and goes: only the peaks tell."""


class Window:
    """One open document, typed into at one place."""

    def __init__(self, lines: int) -> None:
        text, self._at = long_file(lines)
        self.client = KnowingClient(lambda prefix: (BODY,) if prefix.endswith(HEAD) else (f"word{len(prefix)}",))
        self.session = Session(lambda: self.client)
        self.session.flights.rhythm = Rhythm(itertools.count().__next__)  # every key a second later
        self._options = Options(debounce_ms=0, speculate=False)
        self.session.documents.open(DocumentSnapshot(URI, 0, "python", text))
        self._versions = itertools.count(1)

    def change(self, text: str, delete: int = 0) -> None:
        """Type, or delete to the left."""
        snapshot = self.session.documents.get(URI)
        assert snapshot
        start, end = (snapshot.lines.position(at, Encoding.UTF16) for at in (self._at - delete, self._at))
        self.session.documents.change(URI, [Change(text, (start, end))], next(self._versions), Encoding.UTF16)
        self._at += len(text) - delete

    async def ask(self) -> Answer:
        """What the server does for one request."""
        snapshot = self.session.documents.get(URI)
        assert snapshot
        return await self.session.flights.answer(Question(snapshot, self._at, self._options), self._suggest)

    async def _suggest(self, question: Question, priority: Priority, on_early: OnEarly | None) -> Suggestions:
        session, options = self.session, replace(question.options, candidates=question.candidates)
        client, trees, contexts = session.client, session.trees, session.contexts
        return await suggest(
            question.snapshot, question.offset, client=client, options=options, trees=trees, contexts=contexts
        )


async def hits() -> tuple[list[float], list[float]]:
    """Milliseconds of each key along the suggestion, by the wall and of processor time."""
    window, spent, busy = Window(10_000), list[float](), list[float]()
    window.change(HEAD)
    assert (await window.ask()).source is Source.MODEL
    while len(spent) < HITS:
        for char in BODY[:-1]:
            began, worked = time.perf_counter(), time.thread_time()
            window.change(char)
            answer = await window.ask()
            spent.append((time.perf_counter() - began) * 1000)
            busy.append((time.thread_time() - worked) * 1000)
            assert answer.items
            assert answer.source is Source.CACHE
        window.change("", len(BODY) - 1)
    return spent, busy


async def held(keys: int = KEYS) -> list[int]:
    """Bytes that Python holds after every :data:`SAMPLE` keys: a line is typed and deleted, each time another."""
    window, pressed = Window(3000), 0
    samples: list[int] = []
    tracemalloc.start(1)
    while pressed < keys:
        line = f"name{pressed} = "
        for key in (*line, *[""] * len(line)):
            window.change(key, delete=not key)
            await window.ask()
            window.client.requests.clear()
            pressed += 1
            if pressed % SAMPLE == 0:
                gc.collect()
                samples.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    return samples


def main() -> int:
    """Print the figures."""
    for what, spent in zip(("wall", "processor"), asyncio.run(hits()), strict=True):
        times = f"p50 {percentile(spent, 50):.2f} ms, p99 {percentile(spent, 99):.2f} ms"
        print(f"type-through hit, {what}: {times} of {len(spent)} keys", flush=True)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    samples = asyncio.run(held())
    most = [max(half) / 1e6 for half in (samples[: len(samples) // 2], samples[len(samples) // 2 :])]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1000
    print(
        f"{KEYS} keys: Python holds at most {most[0]:.1f} MB in the first half, {most[1]:.1f} MB in the second;",
        end=" ",
    )
    print(f"the largest resident size grew by {grown:.0f} MB in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
