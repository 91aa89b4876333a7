"""Breaks the product on purpose, one way at a time, and demands that the suite turns red.

``python -m tests.mutations``: each mutation replaces one exact piece of source in a copy of the tree and runs the tests
that guard it there. A mutation that no longer applies, or that the tests let pass, fails the run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).parent.parent
COPIED = ("inference", "lsp_server", "tests", "pyproject.toml")
LIMIT_S = 300
AT_ONCE = min(4, os.cpu_count() or 1)
"""Mutations that run side by side, each in a copy and a process of its own."""
TESTS_FAILED = 1
"""pytest's exit code for failed tests; 2 and above mean that it could not run them."""


@dataclass(frozen=True)
class Mutation:
    """``name`` says what is broken; ``old``, exactly once in ``file``, becomes ``new``; ``tests`` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @classmethod
    def load_all(cls) -> list[Mutation]:
        entries = json.loads((ROOT / "tests/data/mutations.json").read_text(encoding="utf-8"))
        return [cls(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]

    def survives(self) -> str:
        """Run the guarding tests on the broken copy; the reason why this mutation was not caught, or nothing."""
        with tempfile.TemporaryDirectory() as folder:
            for name in COPIED:
                source = ROOT / name
                copy = Path(folder, name)
                if source.is_dir():
                    shutil.copytree(source, copy)  # with its bytecode: only the broken file is compiled anew
                else:
                    shutil.copy(source, copy)
            broken = Path(folder, self.file)
            text = broken.read_text(encoding="utf-8")
            if text.count(self.old) != 1:
                return f"its text stands {text.count(self.old)} times in {self.file}, not once"
            broken.write_text(text.replace(self.old, self.new), encoding="utf-8")
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *self.tests]
            # Processes that the tests start elsewhere must import the broken copy too.
            environment = {**os.environ, "PYTHONPATH": folder}
            try:
                done = subprocess.run(
                    command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S
                )
            except subprocess.TimeoutExpired:
                return f"its tests did not end within {LIMIT_S} s"
        if done.returncode == TESTS_FAILED:
            return ""
        return f"pytest left with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-1000:]}"


def main() -> int:
    console = Console(soft_wrap=True)
    survivors = 0
    mutations = Mutation.load_all()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reasons = pool.map(Mutation.survives, mutations)
        running = track(reasons, total=len(mutations), description="mutations", console=console, transient=True)
        for mutation, reason in zip(mutations, running, strict=True):
            survivors += bool(reason)
            console.print(
                f"{'[red]SURVIVED[/]' if reason else 'caught'}  {mutation.name}" + (f": {reason}" if reason else "")
            )
    console.print(f"{len(mutations) - survivors} of {len(mutations)} mutations caught")
    return 1 if survivors or not mutations else 0


if __name__ == "__main__":
    sys.exit(main())
