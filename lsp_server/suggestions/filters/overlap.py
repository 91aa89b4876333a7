"""Text that stands around the gap already must not come a second time."""

from __future__ import annotations

import itertools
import re

from lsp_server.suggestions.code_tokens import PAIRS
from lsp_server.suggestions.site import Site
from lsp_server.syntax.cursor import CLOSERS

_MIN_OVERLAP = 3
_MOST_LINES = 8


def trim_suffix_overlap(text: str, site: Site) -> str:
    """Trim an end that repeats what stands right of the gap already, or the lines below it."""
    after = site.after.strip()
    body = text.rstrip()
    for length in range(min(len(after), len(body)), 0, -1):
        if body.endswith(after[:length]) and _is_repetition(body, after, length, site):
            return body[:-length].rstrip()
    if after:
        return text
    if _makes_the_line_below(text, site):
        return ""
    if not site.gap.may_span_lines:
        return text
    lines = text.split("\n")
    same = [_same(line) for line in lines]
    below = [_same(line) for line in site.lines_below[:_MOST_LINES]]
    for number in range(len(lines)):
        count = _agreeing(same[number:], below)
        rest = len(lines) - number
        repeated = same[number : number + count]
        if count and count == rest and any(_is_telling(line, site) for line in repeated):
            return "\n".join(lines[:number])
        if count >= 2 and any(_is_distinctive(line) for line in repeated):
            return "\n".join(lines[:number])
    return text


def drop_retyped_line(text: str, site: Site) -> str:
    """A fill that only says again what the line above says, or that makes its own line the same as its neighbour."""
    if not site.lines_above:
        return text
    line, *rest = [_same(line) for line in (site.before + text + site.after).split("\n")]
    above = _same(site.lines_above[-1])
    if line != above or not _is_distinctive(line) or _repeats_lines(site):
        return text
    return text if any(rest) else ""


def _makes_the_line_below(text: str, site: Site) -> bool:
    """Whether the gap's line would be the next one, where nothing else is said twice."""
    line = _same(site.before + text)
    if "\n" in text or not site.lines_below or line != _same(site.lines_below[0]):
        return False
    return _is_distinctive(line) and not _repeats_lines(site)


def _same(line: str) -> str:
    """The line as two people may write it differently: quotes, spaces and the last comma or semicolon do not count."""
    return re.sub(r"\s+", "", line).replace("'", '"').rstrip(",;")


def _agreeing(lines: list[str], below: list[str]) -> int:
    """How many lines from the first on are those below; blank ones aside."""
    count, expected = 0, iter(below)
    for line in lines:
        if line and line != next(expected, None):
            break
        count += 1
    return count if lines and lines[0] else 0


def _is_telling(line: str, site: Site) -> bool:
    closing = site.language.closing if site.language else CLOSERS
    return len(line) >= _MIN_OVERLAP and line not in closing


def _is_distinctive(line: str) -> bool:
    return len(line) >= 8 and bool(re.search(r"\w{3}", line))


def _repeats_lines(site: Site) -> bool:
    """Whether the neighbourhood has the same line twice in a row as it is."""
    near = [_same(line) for line in [*site.lines_above[-_MOST_LINES:], *site.lines_below[:_MOST_LINES]]]
    return any(one == other and len(one) >= 6 and re.search(r"\w{3}", one) for one, other in itertools.pairwise(near))


def _is_repetition(body: str, after: str, length: int, site: Site) -> bool:
    """Whether the last ``length`` characters are a repetition that can go without breaking a word or a pair."""
    piece = after[:length]
    if length < _MIN_OVERLAP and not all(char in ",;:." for char in piece):
        return False
    splits_word = _is_word(body[-length - 1 : -length]) and _is_word(piece[0])
    ends_in_word = _is_word(piece[-1]) and _is_word(after[length : length + 1])
    if splits_word or ends_in_word:
        return False
    return not site.is_code or _is_balanced(piece)


def _is_balanced(piece: str) -> bool:
    opened: list[str] = []
    for char in piece:
        if char in PAIRS:
            opened.append(PAIRS[char])
        elif char in CLOSERS and (not opened or opened.pop() != char):
            return False
    return not opened and all(piece.count(quote) % 2 == 0 for quote in "\"'`")


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
