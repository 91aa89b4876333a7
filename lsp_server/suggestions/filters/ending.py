"""Where a fill must end: with its gap, with its language, and with the last thing said in full."""

from __future__ import annotations

import re
from dataclasses import replace

from inference.protocol import FinishReason
from lsp_server.suggestions.code_tokens import PAIRS
from lsp_server.suggestions.site import Site
from lsp_server.syntax.cursor import CLOSERS
from lsp_server.syntax.ending import admitted
from lsp_server.syntax.gap import GapKind
from lsp_server.syntax.languages import MARKDOWN

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_LONGEST_TOKEN = 12
"""Characters that a token has at most on the average of a fill: what is longer did not come out of its gap."""


def cut_unfinished(text: str, site: Site, finish: FinishReason) -> str:
    """A fill that the length limit ended keeps what it said in full: whole lines, else whole words and brackets."""
    if finish is not FinishReason.LENGTH or not text.strip() or not _is_word(text.rstrip("\n")[-1:]):
        return text
    lines = text.split("\n")
    if len(lines) > 1 and site.gap.may_span_lines and "\n".join(lines[:-1]).strip():
        return _balanced_lines(lines[:-1], site)
    text = re.sub(r"\w+$", "", text)
    if not site.is_code:
        return text.rstrip()
    if opened := _opened(text, site):
        text = text[: opened[0]]
        text = re.sub(r"[\w.]+$", "", text)
    return re.sub(r"(?:\s|[^\w\s)\]}\"'`]|\b(?:and|or|not|in|is|if|else|for|as|await|new)\b)+$", "", text)


def cut_at_gap_end(text: str, site: Site) -> str:
    """Keep what lies within the gap: one line, up to the closing quote, down to the dedent or the blank line."""
    if not site.is_code:
        # In a page's table a line's tail is prose, too.
        return text[: admitted(text, replace(site.gap, kind=GapKind.PARAGRAPH), site.language)]
    end = admitted(text, site.gap, site.language)
    if text[end : end + 1] in tuple(CLOSERS):
        return text if site.gap.may_span_lines else text.split("\n", 1)[0]  # whether it closes too much is told later
    return text[:end]


def cut_foreign(text: str, site: Site) -> str:
    """Markdown's code fences belong to Markdown: neither code nor a fence's content has them."""
    if site.is_injected or (site.is_code and (site.language is None or site.language != MARKDOWN)):
        return _FENCE.split(text, maxsplit=1)[0]
    return text


def drop_too_long(text: str, site: Site) -> str:
    """Longer than the gap may be, whatever its tokens: not what was asked for."""
    return "" if len(text) > site.gap.max_tokens * _LONGEST_TOKEN else text


def _balanced_lines(lines: list[str], site: Site) -> str:
    """The most lines that leave no bracket open."""
    for count in range(len(lines), 0, -1):
        text = "\n".join(lines[:count])
        if text.strip() and not _opened(text, site) and not lines[count - 1].rstrip().endswith((":", "\\")):
            return text
    return ""


def _opened(text: str, site: Site) -> list[int]:
    """Places of the brackets that a fill leaves open."""
    opened: list[tuple[int, str]] = []
    for place, char in site.code(text):
        if char in PAIRS:
            opened.append((place, PAIRS[char]))
        elif opened:
            opened.pop()
    return [place for place, _ in opened]


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
