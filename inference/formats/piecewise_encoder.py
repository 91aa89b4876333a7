"""Tokenising a long document again and again while somebody types in it: piece by piece, and what is unchanged once."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

PIECE = 1024
"""Characters after which a piece ends with its line."""

REMEMBERED = 2048
"""Pieces whose tokens are kept; those used least recently go first."""

_LINE_END = re.compile(r"(?<=\S)(?=\r?\n)")
"""Where no token reaches across: newlines merge with the white space around them, so a piece ends before both."""


class PiecewiseEncoder:
    """Encodes text with ``encode`` in pieces; those that it has seen lately cost nothing. For one thread."""

    def __init__(self, encode: Callable[[str], list[int]]) -> None:
        self._encode = lru_cache(maxsize=REMEMBERED)(lambda piece: tuple(encode(piece)))

    def __call__(self, text: str) -> list[int]:
        """The token ids of ``text``."""
        return [index for piece in pieces(text) for index in self._encode(piece)]


def pieces(text: str) -> list[str]:
    """``text`` cut at the ends of lines about every :data:`PIECE` characters; typing changes the last."""
    found, start = [], 0
    while len(text) - start > PIECE:
        line_end = _LINE_END.search(text, start + PIECE)
        if line_end is None:
            break
        found.append(text[start : line_end.start()])
        start = line_end.start()
    return [*found, text[start:]]
