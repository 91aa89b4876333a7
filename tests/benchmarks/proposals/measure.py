"""Coverage and precision of proposals on gaps of packages that nothing was fitted on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lsp_server.proposals.propose import propose
from tests.benchmarks.proposals.cases import File, draw, read

LANGUAGES = ("python", "javascript", "typescript", "markdown")
SHAPES = {"tail": 1.0, "line": 1.0, "closed": 0.5, "lines": 0.5}
COVERAGES = (0.05, 0.1, 0.2, 0.3, 0.4)
FLOORS = (0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Outcome:
    """The first proposal for a gap: its probability, 0 if there is none, and whether it is what stood there."""

    shape: str
    language: str
    nearby: bool
    probability: float
    right: bool


def outcomes(files: dict[str, list[File]], count: int, seed: int) -> Iterator[Outcome]:
    """Every gap without and with the files nearby."""
    for language, members in files.items():
        for shape, share in SHAPES.items():
            for case in draw(members, shape, round(count * share), seed):
                for nearby in (False, True):
                    first = next(iter(propose(case.snapshot, case.gap, case.surroundings(nearby))), None)
                    probability = 1 / (1 + math.exp(-first.evidence)) if first else 0.0
                    right = first is not None and case.is_right(first.text)
                    yield Outcome(shape, language, nearby, probability, right)


def measure(corpus: Path, count: int, seed: int) -> Iterator[str]:
    """Markdown tables."""
    found = list(outcomes(read(corpus, LANGUAGES), count, seed))
    head = ["gaps", "of", "files", "count", "right", *(f"{share:.0%}" for share in COVERAGES)]
    head += [f"p >= {floor}" for floor in FLOORS]
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
    for shape in SHAPES:
        for language in (*LANGUAGES, "all"):
            for nearby in (False, True):
                some = [
                    one
                    for one in found
                    if one.shape == shape and one.nearby == nearby and language in (one.language, "all")
                ]
                if some:
                    yield _row([shape, language, "nearby" if nearby else "itself"], some)
    yield "\n| probability | gaps | right |\n|---|---|---|"
    for tenth in range(10):
        some = [one for one in found if tenth <= one.probability * 10 < tenth + 1 and one.probability]
        if some:
            yield f"| {tenth / 10:.1f} to {(tenth + 1) / 10:.1f} | {len(some)} | {_share(some):.2f} |"


def _row(names: list[str], some: list[Outcome]) -> str:
    best = sorted(some, key=lambda one: -one.probability)
    cells = [*names, str(len(some)), f"{_share(some):.3f}"]
    cells += [f"{_share(best[: round(share * len(best))]):.2f}" for share in COVERAGES]
    for floor in FLOORS:
        shown = [one for one in some if one.probability >= floor]
        cells.append(f"{_share(shown):.2f} of {len(shown) / len(some):.0%}")
    return f"| {' | '.join(cells)} |"


def _share(some: Iterable[Outcome]) -> float:
    rights = [one.right for one in some]
    return sum(rights) / len(rights) if rights else math.nan
