"""As many random edits as you have time for: ``python -m tests.benchmarks.fuzz --edits 1000000 [--seed N]``."""

import argparse
import asyncio
import itertools

from rich.progress import track

from tests.support.fuzzer import ENCODINGS, SEEDS, fuzz

_AT_ONCE = 500
"""Edits of one document; then comes the next language, encoding and seed."""


async def run(edits: int, seed: int) -> None:
    cases = ((language, encoding, n) for n in itertools.count(seed) for language in SEEDS for encoding in ENCODINGS)
    for _ in track(range(0, edits, _AT_ONCE), description="edits"):
        language, encoding, n = next(cases)
        await fuzz(language, encoding, n, _AT_ONCE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fuzz", description=__doc__)
    parser.add_argument("--edits", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.edits, arguments.seed))
    print(f"{arguments.edits} edits: texts and trees never parted")


if __name__ == "__main__":
    main()
