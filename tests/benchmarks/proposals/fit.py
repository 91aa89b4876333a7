"""Fits ``lsp_server/proposals/evidence.json``: a logistic regression on gaps of training packages."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lsp_server.proposals.candidates import candidates
from lsp_server.proposals.features import Weigher
from lsp_server.proposals.place import Place
from lsp_server.proposals.propose import sources
from tests.benchmarks.proposals.cases import Case, draw, read

LANGUAGES = ("python", "javascript", "typescript", "markdown", "go", "rust")
SHAPES = {"line": 0.6, "closed": 0.2, "lines": 0.2}
_PENALTY = 3.0
Row = tuple[dict[str, float], bool, int]
"""Features of a candidate, whether it is right, the number of its gap."""


def cases(corpus: Path, count: int, seed: int, share: float) -> Iterator[Case]:
    files = read(corpus, LANGUAGES, share, seed)
    for language in LANGUAGES:
        for shape, part in SHAPES.items():
            yield from draw(files[language], shape, round(count * part), seed)


def rows(corpus: Path, count: int, seed: int, share: float) -> Iterator[Row]:
    """Half of the gaps see the files nearby."""
    rng = random.Random(seed)
    for number, case in enumerate(cases(corpus, count, seed, share)):
        place = Place(case.snapshot, case.gap)
        found = candidates(place, sources(place, case.surroundings(rng.random() < 0.5)))
        weigher = Weigher(place, found)
        for one in found.items:
            yield weigher.features(one), case.is_right(one.text), number


def regress(names: list[str], x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], penalty: float) -> dict[str, float]:
    """Newton's method on the penalised log loss; columns are scaled to unit deviation for the penalty."""
    scale = x.std(axis=0) + 1e-9
    x = np.hstack([x / scale, np.ones((len(x), 1))])
    weights, ridge = np.zeros(x.shape[1]), np.full(x.shape[1], penalty)
    ridge[-1] = 1e-6
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - y) + ridge * weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if abs(step).max() < 1e-6:
            break
    found = {name: round(float(w / s), 4) for name, w, s in zip(names, weights, scale, strict=False)}
    return {"bias": round(float(weights[-1]), 4), **found}


def matrix(found: list[Row]) -> tuple[list[str], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    names = sorted({name for features, _, _ in found for name in features})
    column = {name: number for number, name in enumerate(names)}
    x = np.zeros((len(found), len(names)))
    for number, (features, _, _) in enumerate(found):
        for name, value in features.items():
            x[number, column[name]] = value
    return names, x, np.array([right for _, right, _ in found], dtype=float)


def fit(corpus: Path, count: int, seed: int, command: str, share: float = 0.25) -> dict[str, Any]:
    """The weights that ``evidence.json`` holds; gaps are cut into a ``share`` of the files."""
    found = list(rows(corpus, count, seed, share))
    names, x, y = matrix(found)
    weights = regress(names, x, y, _PENALTY)
    return {"command": command, "gaps": found[-1][2] + 1, "candidates": len(found), "weights": weights}


def write(path: Path, fitted: dict[str, Any]) -> None:
    path.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")
