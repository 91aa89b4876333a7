"""Gaps cut into real files: rest of a line, the same with the brackets closed, some lines."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from inference.training.spans import draw_span
from lsp_server.context.surroundings import Surroundings
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap, find_gap
from lsp_server.syntax.trees import SyntaxTrees

FILES, CHARACTERS = 24, 600_000
"""Other files of a package that count as nearby."""

_LONG = 20_000
"""Characters from which on a longer file is not drawn more often."""

_CLOSERS = frozenset(")]}\"'`;:,")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class File:
    """One file of the corpus, in its ``package``."""

    package: str
    language: str
    snapshot: DocumentSnapshot
    members: list[DocumentSnapshot] = field(repr=False)

    @cached_property
    def nearby(self) -> tuple[DocumentSnapshot, ...]:
        """Other files of the package, the nearest first."""
        return _nearby(self.snapshot, self.members)


@dataclass(frozen=True)
class Case:
    """A document whose gap was cut out, and what stood there."""

    shape: str
    file: File
    snapshot: DocumentSnapshot
    gap: Gap
    truth: str

    def surroundings(self, nearby: bool) -> Surroundings:
        return Surroundings(nearby=self.file.nearby if nearby else ())

    def is_right(self, text: str) -> bool:
        """Whether ``text`` is what stood there, as many lines of it as it has, white space at the end aside."""
        count = text.rstrip().count("\n") + 1
        lines = self.truth.rstrip().split("\n")
        return len(lines) >= count and "\n".join(lines[:count]).rstrip() == text.rstrip()


def read(corpus: Path, languages: Sequence[str], share: float = 1.0, seed: int = 0) -> dict[str, list[File]]:
    """Files by language; a ``share`` of each package's directories."""
    packages: dict[str, list[tuple[str, DocumentSnapshot]]] = {}
    with corpus.open(encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)
            uri = f"file:///{raw['package']}/{raw['path']}"
            snapshot = DocumentSnapshot(uri, 0, raw["language"], raw["text"])
            packages.setdefault(raw["package"], []).append((raw["language"], snapshot))
    files: dict[str, list[File]] = {language: [] for language in languages}
    rng = random.Random(seed)
    for package, members in packages.items():
        snapshots = [snapshot for _, snapshot in members]
        for language, snapshot in members:
            if language in files and rng.random() < share:
                files[language].append(File(package, language, snapshot, snapshots))
    return files


def draw(files: Sequence[File], shape: str, count: int, seed: int) -> Iterator[Case]:
    """``count`` gaps with something in them that is more than punctuation.

    ``shape``: "line" is the rest of a line, "closed" ends before what closes the line's brackets, "lines" are some;
    these are cut as the training cuts them, evenly over packages and most words begun. "tail" is the rest of a line at
    any column, by the length of the files.
    """
    rng = random.Random(f"{seed}/{shape}")
    packages: dict[str, list[File]] = {}
    for file in files:
        packages.setdefault(file.package, []).append(file)
    names = sorted(packages)
    if not names:
        return
    weights = [min(len(file.snapshot.text), _LONG) for file in files]
    trees = SyntaxTrees()
    drawn = 0
    for _ in range(50 * count):
        if drawn == count:
            return
        file = rng.choice(packages[names[drawn % len(names)]])
        if shape == "tail":
            file = rng.choices(files, weights)[0]
        if (case := _cut(file, shape, rng, trees)) is not None:
            drawn += 1
            yield case


def _cut(file: File, shape: str, rng: random.Random, trees: SyntaxTrees) -> Case | None:
    text = file.snapshot.text
    if shape == "tail":
        start, end = _tail(text, rng)
    else:
        span = draw_span(text, file.language, rng, "lines" if shape == "lines" else "line")
        start, end = span.start, span.end
    if shape == "lines":
        if rng.random() < 0.6:  # most are asked for on a line of their own
            line = text.rfind("\n", 0, start) + 1
            start = line + len(text[line:end]) - len(text[line:end].lstrip())
    elif shape == "closed":
        line = text.rfind("\n", 0, start) + 1
        closing = _closing(text[line:start], text[start:end])
        if closing is None:
            return None
        end = start + closing
    truth = text[start:end]
    if not any(char.isalnum() for char in truth):
        return None
    cut = DocumentSnapshot(file.snapshot.uri, 1, file.snapshot.language_id, text[:start] + text[end:])
    trees.forget(cut.uri)
    gap = find_gap(cut, start, trees.around(cut, start), invoked=True)
    return None if gap is None or gap.start != gap.end else Case(shape, file, cut, gap, truth)


def _tail(text: str, rng: random.Random) -> tuple[int, int]:
    """The rest of a line that is not blank, at any column behind its indentation."""
    lines = text.split("\n")
    number = rng.choice([number for number, line in enumerate(lines) if line.strip()])
    line = lines[number]
    start = sum(len(above) + 1 for above in lines[:number])
    return start + rng.randrange(len(line) - len(line.lstrip()), len(line)), start + len(line)


def _closing(before: str, rest: str) -> int | None:
    """Where the closers begin that an editor would have put there."""
    opened: list[str] = []
    for char in before:
        if char in _PAIRS:
            opened.append(_PAIRS[char])
        elif opened and char == opened[-1]:
            opened.pop()
    if not opened:
        return None
    depth: list[str] = []
    for index, char in enumerate(rest):
        if char in _PAIRS:
            depth.append(_PAIRS[char])
        elif depth and char == depth[-1]:
            depth.pop()
        elif not depth and char == opened[-1]:
            return index if set(rest[index:].strip()) <= _CLOSERS else None
    return None


def _nearby(snapshot: DocumentSnapshot, members: Sequence[DocumentSnapshot]) -> tuple[DocumentSnapshot, ...]:
    path = PurePosixPath(snapshot.uri)

    def likeness(other: DocumentSnapshot) -> tuple[bool, int, str]:
        there = PurePosixPath(other.uri)
        shared = sum(a == b for a, b in zip(path.parts[:-1], there.parts[:-1], strict=False))
        far = len(path.parts) + len(there.parts) - 2 * shared
        return there.suffix != path.suffix, far, other.uri

    chosen, left = [], CHARACTERS
    folder = snapshot.uri.rsplit("/", 1)[0]
    close = [one for one in members if one.uri.startswith(folder)]
    for other in sorted(close if len(close) > FILES else members, key=likeness):
        if other is not snapshot and len(other.text) <= left:
            chosen.append(other)
            left -= len(other.text)
            if len(chosen) == FILES:
                break
    return tuple(chosen)
