"""Cases for ``python -m inference.training calibrate``: gaps as a request has them, with what is proposed for them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference.protocol import Fixed, Masked
from lsp_server.canvas import segments
from lsp_server.context.contexts import Contexts
from lsp_server.context.window import Budget
from lsp_server.options import Options
from lsp_server.proposals.propose import propose
from tests.benchmarks.proposals.cases import Case, File, draw, read

LANGUAGES = {"python": 2.0, "javascript": 1.0, "typescript": 1.0, "markdown": 1.0}
SHAPES = {"line": 1.0, "tail": 1.0, "closed": 0.5}
_ALONE = 3
"""Every third gap is asked for without the other files of its package."""


def write(corpus: Path, out: Path, count: int, share: float, seed: int) -> int:
    """Write ``count`` gaps of each language and shape, more or fewer by their weights, shuffled; how many these are."""
    lines = [json.dumps(line) for line in _lines(read(corpus, tuple(LANGUAGES), share, seed), count, seed)]
    random.Random(seed).shuffle(lines)
    out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _lines(files: dict[str, list[File]], count: int, seed: int) -> Iterator[dict[str, Any]]:
    for language, members in files.items():
        for shape, weight in SHAPES.items():
            cases = draw(members, shape, round(count * weight * LANGUAGES[language]), seed)
            for number, case in enumerate(cases):
                yield _line(case, nearby=number % _ALONE != 0)


def _line(case: Case, nearby: bool) -> dict[str, Any]:
    options, surroundings = Options(), case.surroundings(nearby=nearby)
    window = Contexts().window(case.snapshot, case.gap, Budget(options.prefix_characters, options.suffix_characters, 0))
    prefix, masked, suffix = segments(case.snapshot, case.gap, window)
    assert isinstance(prefix, Fixed)
    assert isinstance(masked, Masked)
    assert isinstance(suffix, Fixed)
    return {
        "prefix": prefix.text,
        "suffix": suffix.text,
        "language_id": case.snapshot.language_id,
        "truth": case.truth,
        "max_tokens": masked.max_tokens,
        "proposals": [
            {"text": one.text, "evidence": one.evidence} for one in propose(case.snapshot, case.gap, surroundings)
        ],
    }
