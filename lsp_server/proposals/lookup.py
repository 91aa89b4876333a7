"""The text before the gap, searched elsewhere: how far each place agrees, and what goes on there.

Lines are compared without their indentation, so that a match holds at another depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lsp_server.proposals.place import LONGEST_LINE, Place

_KEY, _LONG_KEY, _SHORT_KEY = 9, 20, 3
"""Characters before the gap that are searched."""

_ENOUGH = 24
"""Places from which on the short key is not tried."""

_PER_SOURCE, _IN_ALL = 24, 64
"""Places looked at with one key."""

_SOURCES_OF_SHORT_KEY = 10
"""To search a short key takes the longest and tells the least."""

_LINES_BELOW = 6
"""Lines looked at behind a place, blank ones included."""

_LONGEST = 240
"""Characters of a line that is proposed."""


@dataclass(frozen=True)
class Source:
    """Text to search from ``start`` to ``end``, from its end on if ``backwards``: what is next to the gap comes first.

    ``rank`` is 0 for the gap's own document, then the file's place in the order of likeliness.
    """

    text: str
    start: int
    end: int
    rank: int = 0
    backwards: bool = False


@dataclass(frozen=True)
class Occurrence:
    """A place that reads as the text before the gap does: for ``characters``, of which ``lines`` are whole lines.

    ``end`` is where the gap would be there, ``rest`` what stands from there to ``line_end``, the line's end.
    ``distance`` counts characters to the gap, in the gap's own document.
    """

    source: Source
    end: int
    characters: int
    lines: int
    rest: str
    line_end: int
    distance: int


def occurrences(place: Place, sources: Sequence[Source]) -> list[Occurrence]:
    """Where the text before the gap stands as well, not many more than :data:`_IN_ALL` places."""
    if (keys := _keys(place)) is None:
        return []
    key, longer, shorter = keys
    found: dict[tuple[int, int], Occurrence] = {}
    for number, source in enumerate(sources):
        if _search(place, number, source, key, found) == _PER_SOURCE and longer != key:
            _search(place, number, source, longer, found)
        if len(found) >= _IN_ALL:
            break
    if len(found) < _ENOUGH and shorter != key:
        for number, source in enumerate(sources[:_SOURCES_OF_SHORT_KEY]):
            _search(place, number, source, shorter, found)
            if len(found) >= _IN_ALL:
                break
    return list(found.values())


def _keys(place: Place) -> tuple[str, str, str] | None:
    """What is searched: first, where that is found too often, where it is found too seldom."""
    line_end = "\r\n" if place.snapshot.text.endswith("\r\n", 0, place.line_start) else "\n"
    above = place.above[0] if place.above else ""
    if place.is_blank:
        text = above + line_end
        return (text[-_KEY:], text[-_LONG_KEY:], text[-_SHORT_KEY:]) if above else None
    text = place.before
    if len(text) < _KEY:
        # A line's start alone tells little, unless it is one there too.
        anchored = place.snapshot.text[max(0, place.line_start - 1, place.gap.start - LONGEST_LINE) : place.gap.start]
        return anchored, above[-_KEY:] + line_end[:-1] + anchored, text[-_SHORT_KEY:]
    return text[-_KEY:], text[-_LONG_KEY:], text[-_SHORT_KEY:]


def _search(place: Place, number: int, source: Source, key: str, found: dict[tuple[int, int], Occurrence]) -> int:
    count = 0
    for end in _places(source, key, place.is_blank):
        count += 1
        if (number, end) not in found and (one := _occurrence(place, source, end)) is not None:
            found[number, end] = one
    return count


def _places(source: Source, key: str, is_blank: bool) -> Iterator[int]:
    """Where ``key`` ends in the source, nearest to the gap first."""
    text, start, end, count = source.text, source.start, source.end, 0
    while count < _PER_SOURCE:
        at = text.rfind(key, start, end) if source.backwards else text.find(key, start, end)
        if at < 0:
            return
        count += 1
        behind = at + len(key)
        if source.backwards:
            end = behind - 1
        else:
            start = at + 1
        if is_blank:
            behind = _first_of_line(text, behind, source.end)
            if behind < 0:
                continue
        yield behind


def _first_of_line(text: str, at: int, end: int) -> int:
    for index in range(at, min(end, at + 80)):
        if not text[index].isspace():
            return index
    return -1


def _occurrence(place: Place, source: Source, end: int) -> Occurrence | None:
    text = source.text
    line_end = text.find("\n", end, end + _LONGEST)
    if line_end < 0:
        if source.end - end > _LONGEST:
            return None
        line_end = source.end
    line_end = min(line_end, source.end)
    rest = text[end:line_end].rstrip()
    line_start = text.rfind("\n", max(0, end - LONGEST_LINE), end) + 1
    written = text[line_start:end].lstrip()
    characters, lines = common_suffix(written, place.before), 0
    if written == place.before:
        lines = 1
        for expected in place.above:
            line_start, line = _line_above(text, line_start, source.start)
            if line != expected:
                characters += common_suffix(line, expected)
                break
            characters += len(line) + 1
            lines += 1
    elif characters < len(place.before) and len(place.before) <= 2:
        return None
    away = place.gap.start - end if end <= place.gap.start else end - place.gap.end
    distance = 0 if source.rank else away
    return Occurrence(source, end, characters, lines, rest, line_end, distance)


def _line_above(text: str, line_start: int, limit: int) -> tuple[int, str]:
    """Start and content of the next line above that is not blank."""
    for _ in range(4):
        if line_start <= limit:
            return line_start, ""
        start = text.rfind("\n", max(limit, line_start - 1 - LONGEST_LINE), line_start - 1) + 1
        start = max(start, limit)
        if line := text[start : line_start - 1].strip():
            return start, line
        line_start = start
    return line_start, ""


def lines_below(text: str, at: int, end: int) -> Iterator[str]:
    """The next lines behind the line end ``at`` that are not blank, stripped."""
    for _ in range(_LINES_BELOW):
        if at >= end:
            return
        limit = min(end, at + 1 + LONGEST_LINE)
        stop = text.find("\n", at + 1, limit)
        stop = limit if stop < 0 else stop
        if line := text[at + 1 : stop].strip():
            yield line
        at = stop


def common_suffix(one: str, other: str) -> int:
    """Characters that two texts have in common at their ends."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[-middle:] == other[-middle:]:
            low = middle
        else:
            high = middle - 1
    return low
