"""HumanEval-Infilling's problems (github.com/openai/human-eval-infilling): gaps, and the tests of what fills them.

A file of HumanEval itself will do: each line of its solutions is a gap, 1,033 in all, as in the single-line set.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class BadProblems(ValueError):  # noqa: N818 - what it is about, not that it is an error
    """The file is not one of problems; one sentence that names the line."""


@dataclass(frozen=True)
class Problem:
    """``prompt`` and ``suffix`` stand around the gap; ``test`` defines ``check``, which gets the ``entry_point``."""

    task_id: str
    prompt: str
    suffix: str
    canonical_solution: str
    test: str
    entry_point: str

    def document(self, fill: str) -> str:
        """The text with its gap filled."""
        return self.prompt + fill + self.suffix

    def program(self, document: str) -> str:
        """Python source that runs to its end only if ``document``, the text with its gap filled, passes."""
        return f"{document}\n{self.test}\ncheck({self.entry_point})\n"

    def is_exact(self, document: str) -> bool:
        """Whether ``document`` is what the gap was cut out of, but for white space at line ends."""
        return _without_line_ends(document) == _without_line_ends(self.document(self.canonical_solution))


def read_problems(path: Path, limit: int | None = None) -> list[Problem]:
    """Read the first ``limit`` problems of ``path``, JSON Lines, gzip if its name ends in ``.gz``.

    Raises :class:`BadProblems` and :class:`OSError`.
    """
    problems: list[Problem] = []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if limit is not None and len(problems) >= limit:
                    break
                if line.strip():
                    problems += _problems(line, f"{path}, line {number}")
        except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadProblems(f"{path} is damaged: {error}") from error
    if not problems:
        raise BadProblems(f"{path} holds no problems")
    return problems[:limit]


def _problems(line: str, place: str) -> list[Problem]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadProblems(f"{place}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadProblems(f"{place}: must be an object")
    whole = "suffix" not in content
    names = [field.name for field in fields(Problem) if not (whole and field.name == "suffix")]
    for name in names:
        if not isinstance(value := content.get(name), str):
            raise BadProblems(f"{place}: {name!r} is {'no string' if name in content else 'missing'}")
        if _LONE_SURROGATE.search(value):
            raise BadProblems(f"{place}: {name!r} holds a lone surrogate, which is not text")
    texts = {name: content[name] for name in names}
    return list(_single_lines(Problem(**texts, suffix=""))) if whole else [Problem(**texts)]


def _single_lines(whole: Problem) -> Iterator[Problem]:
    """One problem for each line of the solution that is not blank."""
    lines = whole.canonical_solution.split("\n")
    written = [number for number, line in enumerate(lines) if line.strip()]
    for count, number in enumerate(written):
        before = "".join(f"{line}\n" for line in lines[:number])
        after = "".join(f"\n{line}" for line in lines[number + 1 :])
        yield Problem(
            task_id=f"{whole.task_id}/L{count}",
            prompt=whole.prompt + before,
            suffix=after,
            canonical_solution=lines[number],
            test=whole.test,
            entry_point=whole.entry_point,
        )


def _without_line_ends(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
