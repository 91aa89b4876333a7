"""What a key costs the server itself, without a model: ``python -m tests.benchmarks.keystroke``.

A line at a time is typed into a long file beside open and nearby ones, as a person would type it: from the change to
what may be shown, through the cache. Half of what the scripted model says is what will be typed. ``--file`` and
``--folder`` measure other texts than the standard library's. Processor time is the event loop's thread's alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference.protocol import Priority
from lsp_server.bench.figures import percentile
from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.session import Session
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.suggestions.suggest import Suggestions, suggest
from lsp_server.syntax.languages import language_id_of
from lsp_server.syntax.trees import SyntaxTrees
from lsp_server.typing.flights import OnEarly, Source
from lsp_server.typing.question import Question
from lsp_server.typing.rhythm import Rhythm
from tests.benchmarks.long_file import long_file, source, standard_modules
from tests.support.typist import KnowingClient

KEYS = 1000
OPEN, NEARBY = 20, 64
_OTHERS = 15_000
"""Characters of a file beside it, more or less."""

_FIRST = 100
"""Keys after which what is kept between keys is as large as it gets, nearly."""


@dataclass
class Costs:
    """Milliseconds of each key, by the wall and of processor time, and of each source apart; bytes that stay."""

    wall: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    of: dict[Source, list[float]] = field(default_factory=dict)
    grown: int = 0

    def note(self, source_of: Source, wall: float, busy: float) -> None:
        """One key more, in seconds."""
        self.wall.append(wall * 1000)
        self.busy.append(busy * 1000)
        self.of.setdefault(source_of, []).append(busy * 1000)


@dataclass(frozen=True)
class Project:
    """A long file, what is typed into it at the blank lines around its middle, and what lies beside it."""

    language_id: str
    suffix: str
    text: str
    typed: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def standard_library(cls) -> Project:
        """10,000 lines of Python."""
        typed = source("textwrap") + source("statistics")
        return cls(
            "python", ".py", long_file()[0], _worth_typing(typed), tuple(standard_modules(OPEN + NEARBY, _OTHERS))
        )

    @classmethod
    def of(cls, file: Path, folder: Path) -> Project:
        """A file, and those like it in a folder, whose lines are typed."""
        paths = [path for path in sorted(folder.rglob(f"*{file.suffix}")) if path.is_file() and path != file]
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths[: OPEN + NEARBY]]
        typed = _worth_typing("\n".join(texts))
        text = file.read_text(encoding="utf-8")
        return cls(language_id_of(file), file.suffix, text, typed, tuple(texts))


def _worth_typing(text: str) -> tuple[str, ...]:
    lines = [line.rstrip() for line in text.splitlines() if 8 < len(line.strip()) < 80]
    return tuple(random.Random(0).sample(lines, min(400, len(lines))))


class Window:
    """A window on a project in ``folder``, with a model that knows every other line."""

    def __init__(self, project: Project, folder: Path, seed: int = 0) -> None:
        self._project, self._random, folder = project, random.Random(seed), folder.resolve()
        self._ahead = ""
        client = KnowingClient(lambda _: (self._ahead if self._random.random() < 0.5 else "other = thing(1)",))
        self._client, self.session = client, Session(lambda: client)
        self.session.flights.rhythm = Rhythm(itertools.count().__next__)  # every key a second later
        self.session.exclusions = Exclusions([folder])
        self.session.trees = SyntaxTrees(limit_s=10)  # however busy the machine is
        self._options = Options(debounce_ms=0, speculate=False, context_snippets=400)
        self._versions = itertools.count(1)
        for number, text in zip(range(OPEN + NEARBY), itertools.cycle(project.others), strict=False):
            path = folder / f"file{number}{project.suffix}"
            path.write_text(text, encoding="utf-8")
            if number < OPEN:
                self.session.open_document(DocumentSnapshot(path.as_uri(), 0, project.language_id, text))
        self._uri = (folder / f"long{project.suffix}").as_uri()
        self.session.open_document(DocumentSnapshot(self._uri, 0, project.language_id, project.text))

    @property
    def _snapshot(self) -> DocumentSnapshot:
        snapshot = self.session.documents.get(self._uri)
        assert snapshot
        return snapshot

    async def warm(self) -> None:
        """Read what lies beside the document, as the server does after the first key."""
        await self._ask(0)
        self.session.nearby.wait(30)

    async def type(self, keys: int) -> Costs:
        """What so many keys cost. A line is deleted at its end, and the next typed elsewhere."""
        costs, pressed, resident = Costs(), 0, 0
        for line in itertools.cycle(self._project.typed):
            at = self._random.choice(self._places())
            typed = "\n" + line
            for number, key in enumerate(typed):
                self._ahead = typed[number + 1 :]
                began, worked = time.perf_counter(), time.thread_time()
                self._change(key, at + number)
                of = await self._ask(at + number + 1)
                costs.note(of, time.perf_counter() - began, time.thread_time() - worked)
                self._client.requests.clear()
                pressed += 1
                resident = _resident() if pressed == min(_FIRST, keys) else resident
                if pressed == keys:
                    costs.grown = _resident() - resident
                    return costs
            self._change("", at, len(typed))
        raise AssertionError("there is nothing to type")

    def _places(self) -> list[int]:
        """Ends of lines near the middle."""
        middle = len(self._project.text) // 2
        return [middle + match.start() for match in re.finditer("\n", self._project.text[middle : middle + 20_000])]

    def _change(self, text: str, at: int, deleted: int = 0) -> None:
        start, end = (self._snapshot.lines.position(place, Encoding.UTF16) for place in (at, at + deleted))
        self.session.change_document(self._uri, [Change(text, (start, end))], next(self._versions))

    async def _ask(self, offset: int) -> Source:
        question = Question(self._snapshot, offset, self._options)
        return (await self.session.flights.answer(question, self._suggest)).source

    async def _suggest(self, question: Question, priority: Priority, on_early: OnEarly | None) -> Suggestions:
        session = self.session
        return await suggest(
            question.snapshot,
            question.offset,
            client=session.client,
            options=replace(question.options, candidates=question.candidates),
            trees=session.trees,
            contexts=session.contexts,
            surroundings=session.surroundings(question.snapshot.uri),
            exclusions=session.exclusions,
        )


def _resident() -> int:
    """Bytes of this process in memory now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def measure(keys: int = KEYS, project: Project | None = None) -> tuple[float, Costs]:
    """Milliseconds of the first key, and what the others cost."""
    with tempfile.TemporaryDirectory() as name:
        window = Window(project or Project.standard_library(), Path(name))
        began = time.perf_counter()
        await window.warm()
        first = (time.perf_counter() - began) * 1000
        await window.type(_FIRST)
        return first, await window.type(keys)


def _lines(first: float, costs: Costs) -> Iterator[str]:
    def times(spent: Sequence[float]) -> str:
        return f"p50 {percentile(spent, 50):.2f} ms, p99 {percentile(spent, 99):.2f} ms of {len(spent)} keys"

    yield f"first key {first:.0f} ms, files beside it read"
    yield f"every key, processor: {times(costs.busy)}"
    yield f"every key, wall: {times(costs.wall)}"
    for one, spent in sorted(costs.of.items()):
        yield f"from the {one}, processor: {times(spent)}"
    yield f"the process grew by {costs.grown / 1e6:.1f} MB"


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--file", type=Path, help="the file that is typed into, instead of 10,000 lines of Python")
    parser.add_argument("--folder", type=Path, help="where files like it are that lie beside it; default: its own")
    given = parser.parse_args()
    project = Project.of(given.file, given.folder or given.file.parent) if given.file else None
    for line in _lines(*asyncio.run(measure(given.keys, project))):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
