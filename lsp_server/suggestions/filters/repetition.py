"""Fills that repeat themselves: characters, pieces, lines, blocks, lines that hardly differ."""

from __future__ import annotations

import itertools
import re

from lsp_server.suggestions.site import Site

_RUN = re.compile(r"([^\W\d_])\1{23,}")
_WORDS = re.compile(r"\b(\w{2,})(?: \1\b){3,}")
_SHORT_LOOP = re.compile(r"(.{2,7}?)\1{4,}", re.DOTALL)
_LONG_LOOP = re.compile(r"(\S.{7,120}?)(?:\s*\1){2,}", re.DOTALL)
_MIN_LINE = 3
_MANY = 6
"""Lines that differ in numbers alone: so many in a row are a loop."""


def cut_loops(text: str, site: Site) -> str:
    """Cut where the text begins to repeat itself over and over; a loop from the start on is dropped."""
    if _RUN.search(text):
        return ""
    text = _cut_lines(text, site) if "\n" in text else text
    for pattern in (_LONG_LOOP, _SHORT_LOOP, _WORDS):
        for loop in pattern.finditer(text):
            if len(set(loop[1])) > 1 and re.search(r"[^\W\d_]", loop[1]):
                return text[: loop.end(1)] if loop.start() > len(text) // 2 else ""
    return text


def _cut_lines(text: str, site: Site) -> str:
    lines = text.split("\n")
    bare = [line.strip() for line in lines]
    for index in range(len(lines) - 2):
        if len(bare[index]) >= _MIN_LINE and bare[index] == bare[index + 1] == bare[index + 2]:
            return "\n".join(lines[: index + 1]) if index else ""
    for size in range(2, len(lines) // 2 + 1):
        for index in range(len(lines) - 2 * size + 1):
            block = bare[index : index + size]
            if block == bare[index + size : index + 2 * size] and any(re.search(r"\w{3}", line) for line in block):
                return "\n".join(lines[: index + size])
    if len(bare) > 1 and bare[-1] == bare[-2] and re.search(r"\w{3}", bare[-1]) and not _doubles_lines(site):
        return "\n".join(lines[:-1])
    numberless = [re.sub(r"\d+", "0", line) for line in bare]
    for index in range(len(lines) - _MANY + 1):
        if numberless[index] and len(set(numberless[index : index + _MANY])) == 1:
            return "\n".join(lines[: index + 2])
    return text


def _doubles_lines(site: Site) -> bool:
    """Whether the document has the same line twice in a row near the gap."""
    near = [*site.lines_above[-8:], "", *site.lines_below[:8]]
    return any(one == other and len(one) >= 6 and re.search(r"\w{3}", one) for one, other in itertools.pairwise(near))
