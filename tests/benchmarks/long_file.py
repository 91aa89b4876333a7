"""A Python file of 10,000 lines made of the standard library that is at hand, and a place to type in it."""

from __future__ import annotations

import sysconfig
from pathlib import Path

LINES = 10_000
_MODULES = ("argparse", "ast", "dataclasses", "datetime", "difflib", "doctest", "inspect", "locale", "optparse")
_MORE = ("pdb", "pickle", "subprocess", "tarfile", "threading", "typing", "uuid", "zipfile")
_STDLIB = Path(sysconfig.get_path("stdlib"))


def source(module: str) -> str:
    """The source text of a module of the standard library."""
    return (_STDLIB / f"{module}.py").read_text(encoding="utf-8")


def standard_modules(count: int, characters: int) -> list[str]:
    """The source texts of so many of its modules: those that are nearest to a length."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(_STDLIB.glob("*.py"))]
    return sorted(texts, key=lambda text: abs(len(text) - characters))[:count]


def long_file(lines: int = LINES) -> tuple[str, int]:
    """The text, and the offset of a blank line between two definitions in its middle."""
    paths = [*(_STDLIB / f"{name}.py" for name in (*_MODULES, *_MORE)), *sorted(_STDLIB.glob("*.py"))]
    text = ""
    for path in paths:
        if path.is_file() and text.count("\n") < lines:
            text += path.read_text(encoding="utf-8", errors="replace") + "\n\n"
    text = "".join(text.splitlines(keepends=True)[:lines])
    return text, text.index("\n\n\ndef ", len(text) // 2) + 2
