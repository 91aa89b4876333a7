"""Plans one lease of a lent GPU machine: the same command three times, each under ten minutes.

The machine is bare (torch, tokenizers, numpy, safetensors; no network) and gets the working tree and the carried
folder; between the calls it keeps its disk while it is warm, so the calls must follow each other at once.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from inference.training.shards import SUMMARY

TREE_BYTES = 64 * 2**20  # what may travel there
CALL_MINUTES = 10.0
MARGIN_MINUTES = 0.75  # of each call, for the machine to end in
START_MINUTES = 2.0  # of the lease: the machine starts, the tree travels
RUN = "/root/lacuna-run"  # on the machine's own disk: not under $OUT, which every call empties


@dataclass(frozen=True)
class Lease:
    """What is lent: minutes of the machine in all, and how they are cut into calls."""

    minutes: float = 30.0
    calls: int = 3
    shape: str = "medium"
    distil_minutes: float = 0.0

    @property
    def call_minutes(self) -> float:
        """What each call may use."""
        share = (self.minutes - START_MINUTES) / self.calls
        return round(min(CALL_MINUTES - MARGIN_MINUTES, share - 0.25), 2)

    def command(self, data: str) -> str:
        """The command of every call, run in the repository's root on the machine."""
        distil = f" --distil-minutes {self.distil_minutes:g}" if self.distil_minutes else ""
        return (
            "PYTHONUNBUFFERED=1 python3 -m inference.training train "
            f"--data {data} --run {RUN} --out $OUT --device cuda --shape {self.shape} "
            f"--minutes {self.call_minutes:g} --calls {self.calls}{distil} --compile"
        )

    def plan(self, data: Path, root: Path) -> str:
        """The plan as text; a tree that is too large is a `ValueError`."""
        if not (data / SUMMARY).exists():
            raise ValueError(f"{data} holds no packed corpus; write one with `pack --cache CACHE --out {data}`")
        carried = sum(path.stat().st_size for path in data.iterdir())
        tree = tree_bytes(root)
        if carried + tree > TREE_BYTES:
            raise ValueError(
                f"the working tree ({tree:,} bytes) and {data} ({carried:,}) together exceed {TREE_BYTES:,}; "
                "pack fewer sources"
            )
        inside = data.resolve().is_relative_to(root.resolve())
        where = data.resolve().relative_to(root.resolve()).as_posix() if inside else ".pack"
        copy = f"first: mkdir -p {where} && cp {data}/* {where}/ && echo /{where}/ >> .git/info/exclude\n"
        call = f'run(command="{self.command(where)}", timeout_s={round(60 * CALL_MINUTES)}, carry=["{where}"])'
        after = f"then: python -m inference.training assemble --data FILES_AT --tokenizer {data} --out FOLDER --run RUN"
        return (
            f"{'' if inside else copy}travels: {tree:,} bytes of tree + {carried:,} carried, of {TREE_BYTES:,}\n"
            f"training: {self.calls} calls of {self.call_minutes:g} minutes, at once one after the other:\n"
            + f"  {call}\n" * self.calls
            + f"each call brings home the averaged weights so far, in files of at most 15 MB\n{after}"
        )


def tree_bytes(root: Path) -> int:
    """Bytes of the tracked and the untracked, not ignored files of a git working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, check=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    paths = (root / name for name in set(listed.split("\0")) if name)
    return sum(path.stat().st_size for path in paths if path.is_file())
