"""Keeps benchmark problems out of the corpus (HumanEval, arXiv 2107.03374; MBPP, arXiv 2108.07732).

The benchmark texts themselves are not stored: only 64-bit hashes of their runs of 13 tokens and the names of the
functions they define.
"""

import gzip
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RUN = 13  # tokens in a hashed run
HASHES = Path(__file__).with_name("benchmark-13grams.npy.gz")
NAMES = Path(__file__).with_name("benchmark-functions.txt")
TOKEN = re.compile(r"\w+|[^\w\s]")
DEFINITION = re.compile(r"^\s*(?:async\s+)?def\s+(\w+)", re.MULTILINE)


def run_hashes(text: str) -> Iterator[int]:
    """The first 64 bits of SHA-1 over every run of 13 tokens joined by one space."""
    tokens = TOKEN.findall(text)
    for start in range(len(tokens) - RUN + 1):
        digest = hashlib.sha1(" ".join(tokens[start : start + RUN]).encode(), usedforsecurity=False).digest()
        yield int.from_bytes(digest[:8], "big")


@dataclass(frozen=True)
class Benchmarks:
    """Hashed runs and function names of the benchmarks that the corpus must not hold."""

    hashes: frozenset[int]
    names: frozenset[str]

    @classmethod
    def load(cls) -> "Benchmarks":
        """Read the two files beside this module."""
        with gzip.open(HASHES) as stream:
            hashes = np.load(io.BytesIO(stream.read()), allow_pickle=False)
        return cls(frozenset(hashes.tolist()), frozenset(NAMES.read_text().split()))

    def leak_into(self, text: str) -> bool:
        """Whether `text` shares two runs with a benchmark, or one run and the name of a function it defines."""
        shared: set[int] = set()
        for value in run_hashes(text):
            if value in self.hashes:
                shared.add(value)
                if len(shared) > 1:
                    return True
        return bool(shared) and not self.names.isdisjoint(DEFINITION.findall(text))


def pack(hexadecimal: Iterable[str]) -> bytes:
    """Sorted unique uint64 of 16-digit hexadecimal strings as a gzipped npy file with a fixed time stamp."""
    values = np.array(sorted({int(line, 16) for line in hexadecimal}), dtype=np.uint64)
    raw = io.BytesIO()
    np.save(raw, values, allow_pickle=False)
    return gzip.compress(raw.getvalue(), mtime=0)
