"""``.gitignore``, ``.git/info/exclude`` and ``.lacunaignore``, as git reads them.

pathspec translates the patterns: git's dialect has more corners than we would get right ourselves.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GIT, OWN = ".gitignore", ".lacunaignore"
"""Two families; what either excludes is excluded."""

MAX_BYTES = 200_000
_FRESH_S = 1.0
_MOST_WILDCARDS, _MOST_WILDCARDS_OF_STRANGERS = 4, 2
_WILDCARD = re.compile(r"\*+")
_KEPT = 2000
_FOLDER = "ps_d"
"""pathspec's name for the slash behind a folder that a pattern has matched."""


@dataclass(frozen=True)
class _Rule:
    """One line of an ignore file: it ``excludes``, or includes again."""

    regex: re.Pattern[str]
    excludes: bool
    line: str

    def means(self, path: str) -> bool:
        """Whether it names ``path`` itself, not only a folder that holds it; a folder's path ends with a slash."""
        marks_folders = _FOLDER in self.regex.groupindex
        return any(
            not marks_folders or one[_FOLDER] is None or one.end() == len(path) for one in self.regex.finditer(path)
        )


@dataclass(frozen=True)
class _File:
    """One ignore file; ``stamp`` changes with it, ``problem`` says why its rules cannot be known."""

    looked_at: float
    stamp: tuple[int, int, int] | None
    rules: tuple[_Rule, ...] = ()
    problem: str = ""


_InForce = tuple[tuple[tuple[_File, int], ...], ...]


class IgnoreRules:
    """What the ignore files of some folders exclude. ``widening`` False disregards all that include again (``!``).

    Files are read again when they have changed, looked at no more than once a second. Any thread may ask: at worst two
    read the same file.
    """

    def __init__(self, *, widening: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._widening = widening
        self._clock = clock
        self._files: dict[Path, _File] = {}
        self._folders: dict[tuple[Path, tuple[str, ...]], tuple[float, str]] = {}
        self._forces: dict[tuple[Path, tuple[str, ...]], tuple[float, _InForce]] = {}

    def why(self, path: Path, top: Path, *, folder: bool = False) -> str:
        """Which rule excludes ``path``, by the ignore files from its folder up to ``top``; empty if none does.

        ``path`` lies below ``top``; both are absolute. A folder that is excluded takes all with it, as in git.
        """
        names, now = path.relative_to(top).parts, self._clock()
        return self._folder(top, names[:-1], now) or self._said(top, names, folder, now) if names else ""

    def _folder(self, top: Path, names: tuple[str, ...], now: float) -> str:
        """Which rule excludes a folder below ``top``, or one that holds it."""
        if not names:
            return ""
        decided_at, found = self._folders.get((top, names), (float("-inf"), ""))
        if now - decided_at >= _FRESH_S:
            found = self._folder(top, names[:-1], now) or self._said(top, names, True, now)
            self._folders = {} if len(self._folders) > _KEPT else self._folders
            self._folders[top, names] = (now, found)
        return found

    def _said(self, top: Path, names: tuple[str, ...], is_folder: bool, now: float) -> str:
        """What the ignore files say of this one path; in each family the deepest that says anything has the word."""
        for files in self._in_force(top, names[:-1], now):
            for file, depth in files:
                if file.problem:
                    return file.problem
                path = "/".join(names[depth:]) + ("/" if is_folder else "")
                if rule := next((one for one in reversed(file.rules) if one.means(path)), None):
                    if rule.excludes:
                        return rule.line
                    break
        return ""

    def _in_force(self, top: Path, folders: tuple[str, ...], now: float) -> _InForce:
        """The ignore files for what lies in a folder, the deepest first, each with the depth of its own folder."""
        looked_at, found = self._forces.get((top, folders), (float("-inf"), ()))
        if now - looked_at >= _FRESH_S:
            found = tuple(
                tuple(one for one in self._family(top, folders, family, now) if one[0].rules or one[0].problem)
                for family in (GIT, OWN)
            )
            self._forces = {} if len(self._forces) > _KEPT else self._forces
            self._forces[top, folders] = (now, found)
        return found

    def _family(self, top: Path, folders: tuple[str, ...], name: str, now: float) -> Iterator[tuple[_File, int]]:
        for depth in range(len(folders), -1, -1):
            yield self._file(top.joinpath(*folders[:depth], name), now), depth
        if name == GIT:
            yield self._file(_git_folder(top) / "info/exclude", now), 0

    def _file(self, path: Path, now: float) -> _File:
        known = self._files.get(path)
        if known and now - known.looked_at < _FRESH_S:
            return known
        if len(self._files) > _KEPT:
            self._files = {}
        found = self._look(path, now, known)
        self._files[path] = found
        return found

    def _look(self, path: Path, now: float, known: _File | None) -> _File:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return _File(now, None)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if known and known.stamp == stamp:
                return _File(now, stamp, known.rules, known.problem)
            if status.st_size > MAX_BYTES:
                return _File(now, stamp, problem=f"{path} is too large to follow")
            with path.open("rb") as file:
                text = file.read(MAX_BYTES).decode("utf-8", "surrogateescape")
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return _File(now, None)
        except OSError as error:
            return _File(now, None, problem=f"{path} cannot be read ({error.strerror})")
        return self._parsed(path, text, now, stamp)

    def _parsed(self, path: Path, text: str, now: float, stamp: tuple[int, int, int]) -> _File:
        from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

        rules = []
        for line in text.removeprefix("\ufeff").split("\n"):
            rule = self._rule(line.removesuffix("\r"))
            with suppress(ValueError):  # git disregards what makes no sense as well
                pattern = GitIgnoreSpecPattern(rule)
                if pattern.regex is not None and pattern.include is not None:
                    rules.append(_Rule(pattern.regex, pattern.include, f"{line.strip()!r} in {os.fspath(path)}"))
        return _File(now, stamp, tuple(rules))

    def _rule(self, line: str) -> str:
        """The rule of one line, empty for none; one that a regular expression would ponder over for ages excludes more.

        Each wildcard more multiplies the time that a name of one repeated letter takes: four take 0.2 s, five 12 s.
        """
        includes = line.startswith("!")
        if line.startswith("#") or not line.strip() or (includes and not self._widening):
            return ""
        wildcards = list(_WILDCARD.finditer(line))
        most = _MOST_WILDCARDS if self._widening else _MOST_WILDCARDS_OF_STRANGERS
        if len(wildcards) <= most:
            return line
        return "" if includes else line[: wildcards[most - 1].end()]


def _git_folder(top: Path) -> Path:
    """Where git keeps what it knows of a repository; in a worktree or submodule ``.git`` is a file that says where."""
    git = top / ".git"
    if not os.path.isfile(git):  # noqa: PTH113 - never raises
        return git
    try:
        git = top / _line(git).removeprefix("gitdir:").strip()
        return git / _line(git / "commondir") if (git / "commondir").is_file() else git
    except (OSError, ValueError):
        return git


def _line(path: Path) -> str:
    with path.open("rb") as file:
        return os.fsdecode(file.read(4096).strip())
