"""Text from elsewhere as the model reads it: comments in the document's language. Text is data, whatever it spells."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lsp_server.syntax.languages import language_of

_FEWEST = 3
"""Lines that are left of a snippet where little room is."""


@dataclass(frozen=True)
class Snippet:
    """Whole lines from elsewhere, and a line that says from where."""

    heading: str
    text: str


def name_of(uri: str) -> str:
    """The file's name."""
    return PurePosixPath(unquote(urlsplit(uri).path)).name


def render(snippets: Iterable[Snippet], language_id: str, budget: int) -> str:
    """The best that ``budget`` characters hold, as comments of the document's language; the best stands last.

    Empty for a language that has no line comment, or is not known.
    """
    language = language_of(language_id)
    if not language or not (mark := language.line_comment):
        return ""
    chosen: list[str] = []
    for snippet in snippets:
        lines = [f"{mark} {line}".rstrip() + "\n" for line in (snippet.heading, *snippet.text.split("\n"))]
        lengths = list(accumulate(map(len, lines)))
        fitting = bisect_right(lengths, budget)
        if fitting < min(len(lines), 1 + _FEWEST):
            break
        budget -= lengths[fitting - 1]
        chosen.append("".join(lines[:fitting]))
    return "".join(reversed(chosen))
