"""Held-out projects with gaps marked in them: what `lacuna bench gaps` asks about, as an editor would."""

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from inference.training.corpus import Document
from inference.training.spans import draw_span

KINDS = {
    "line": ("python", "javascript", "typescript", "markdown", "go", "rust"),
    "lines": ("python", "javascript"),
    "node": ("python", "javascript"),
    "characters": ("python", "javascript"),
}
LONGEST = 200_000  # characters; a larger document is not asked about


def mark(documents: Sequence[Document], count: int, seed: int) -> Iterable[dict[str, Any]]:
    """Every document as `{project, path, language_id, text, gaps}`; a gap is `{kind, start, end}` in code points.

    `count` seeded gaps of each kind and language, evenly over packages, each with something in it.
    """
    gaps: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for kind, languages in KINDS.items():
        for language in languages:
            for document, start, end in _draw(documents, kind, language, count, seed):
                place = gaps.setdefault((document.package, document.path), [])
                place.append({"kind": kind, "start": start, "end": end})
    for document in documents:
        yield {
            "project": document.package,
            "path": document.path,
            "language_id": document.language,
            "text": document.text,
            "gaps": gaps.get((document.package, document.path), []),
        }


def write(documents: Sequence[Document], count: int, seed: int, path: Path) -> int:
    """Write them as JSON Lines; how many gaps there are."""
    total = 0
    with path.open("w", encoding="utf-8") as file:
        for line in mark(documents, count, seed):
            total += len(line["gaps"])
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return total


def _draw(
    documents: Sequence[Document], kind: str, language: str, count: int, seed: int
) -> Iterable[tuple[Document, int, int]]:
    rng = random.Random(f"{seed}/{kind}/{language}")
    by_package: dict[str, list[Document]] = {}
    for document in documents:
        if document.language == language and len(document.text) <= LONGEST:
            by_package.setdefault(document.package, []).append(document)
    packages, found = sorted(by_package), 0
    while packages and found < count:
        document = rng.choice(by_package[packages[found % len(packages)]])
        span = draw_span(document.text, language, rng, kind)
        if span.kind == kind and document.text[span.start : span.end].strip():
            found += 1
            yield document, span.start, span.end
