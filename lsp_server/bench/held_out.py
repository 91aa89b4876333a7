"""Projects with gaps marked in them, as ``python -m inference.training cases`` writes them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lsp_server.bench.problem import BadProblems


@dataclass(frozen=True)
class MarkedGap:
    """``text[start:end]`` of a document is to be found again; ``kind`` says how it was chosen."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class ProjectFile:
    """One document of a project, with the gaps to ask about."""

    project: str
    path: str
    language_id: str
    text: str
    gaps: tuple[MarkedGap, ...]


def read_project_files(path: Path) -> list[ProjectFile]:
    """Read JSON Lines. Raises :class:`BadProblems`, one sentence that names the line, and :class:`OSError`."""
    files = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if line.strip():
                files.append(_project_file(line, f"{path}, line {number}"))
    except UnicodeDecodeError as error:
        raise BadProblems(f"{path} is damaged: {error}") from error
    if not any(file.gaps for file in files):
        raise BadProblems(f"{path} holds no gaps")
    return files


def limited(files: Iterable[ProjectFile], limit: int | None) -> list[ProjectFile]:
    """The same files with only the first ``limit`` gaps of each kind and language."""
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for file in files:
        gaps = []
        for gap in file.gaps:
            seen[gap.kind, file.language_id] += 1
            if limit is None or seen[gap.kind, file.language_id] <= limit:
                gaps.append(gap)
        kept.append(replace(file, gaps=tuple(gaps)))
    return kept


def _project_file(line: str, place: str) -> ProjectFile:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadProblems(f"{place}: not JSON ({error})") from error
    match content:
        case {
            "project": str(project),
            "path": str(path),
            "language_id": str(language_id),
            "text": str(text),
            "gaps": list(gaps),
        }:
            return ProjectFile(project, path, language_id, text, tuple(_gap(gap, text, place) for gap in gaps))
    raise BadProblems(f"{place}: must be an object with 'project', 'path', 'language_id', 'text' and 'gaps'")


def _gap(gap: Any, text: str, place: str) -> MarkedGap:
    match gap:
        case {"kind": str(kind), "start": int(start), "end": int(end)} if 0 <= start < end <= len(text):
            return MarkedGap(kind, start, end)
    raise BadProblems(f"{place}: a gap is 'kind', 'start' and 'end' within the text")
