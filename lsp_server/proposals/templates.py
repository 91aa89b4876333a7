"""Lines near the gap that read as the gap's line does but for some words: the same change is made to what follows.

``self.name = name`` after ``self.size = size`` is found so: ``size`` became ``name`` left of the gap, and does again.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from lsp_server.proposals.place import LONGEST_LINE, Place

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_WORD = re.compile(r"\w+")
_LINES_BEFORE, _LINES_BEHIND = 50, 20
_FAR = 6000
"""Characters in which these lines stand."""

_MOST_TOKENS = 60
_CONTEXT = 3
"""Lines above that may teach a change as well."""

_LONGEST = 240
_FIXED = frozenset(keyword.kwlist) | {
    "case", "catch", "const", "default", "delete", "do", "enum", "export", "extends", "false", "fn", "func",
    "function", "impl", "implements", "instanceof", "interface", "let", "match", "mut", "new", "null", "pub",
    "self", "static", "super", "switch", "this", "throw", "true", "type", "typeof", "undefined", "use", "var",
    "void",
}  # fmt: skip
"""Words that never stand for one another."""


@dataclass(frozen=True)
class Variation:
    """``rest`` is what may stand in the gap, ``original`` before ``changes`` words were changed.

    ``literal`` characters before the gap are the same, ``lines`` above are but for the changes, ``used`` says whether
    a change was made in ``rest``; ``away`` counts lines to the line it comes from.
    """

    rest: str
    original: str
    literal: int
    changes: int
    lines: int
    used: bool
    away: int


def variations(place: Place) -> Iterator[Variation]:
    """What the lines around the gap say, changed as the words left of the gap are."""
    before = _tokens(place.before)
    if len(before) > _MOST_TOKENS:
        return
    shape = _shape(place.before)
    text = place.snapshot.text
    lines: dict[int, str] = {}
    above = text[max(0, place.line_start - _FAR) : place.line_start].split("\n")[:-1]
    for away, line in enumerate(above[: -_LINES_BEFORE - 1 : -1], 1):
        lines[-away] = line[:LONGEST_LINE].strip()
    for away, line in enumerate(text[place.line_end : place.line_end + _FAR].split("\n")[: _LINES_BEHIND + 1]):
        lines[away] = line[:LONGEST_LINE].strip()
    lines[0] = ""  # the gap's own
    for number, line in lines.items():
        if not line or not _shape(line).startswith(shape):
            continue
        context = [upper for n in range(number - 1, number - 6, -1) if n and (upper := lines.get(n, ""))][:_CONTEXT]
        if one := _variation(place, before, line, context, abs(number)):
            yield one


def _variation(place: Place, before: list[str], line: str, above: list[str], away: int) -> Variation | None:
    changes: dict[str, str] = {}
    literal = agreeing = 0
    for there, here in zip(above, place.above, strict=False):
        tried = dict(changes)
        same = _align(_tokens(there), _tokens(here), tried)
        if same is None:
            break
        changes, agreeing = tried, agreeing + 1
        literal += same
    found = _continued(before, _tokens(line), dict(changes))
    if found is None and changes:
        literal = agreeing = 0
        found = _continued(before, _tokens(line), {})
    if found is None or (not before and not agreeing):
        return None
    same, changed, rest = found
    if not changed:
        return None  # the same text is found without this
    written = _changed(rest, changed)
    if not written.strip() or len(written) > _LONGEST:
        return None
    original = "".join(rest)
    used = written != original
    return Variation(written.rstrip(), original.rstrip(), literal + same, len(changed), agreeing, used, away)


def _continued(
    before: list[str], line: list[str], changes: dict[str, str]
) -> tuple[int, dict[str, str], list[str]] | None:
    """Align what stands before the gap with the start of a line; what follows there, still unchanged."""
    if len(line) < len(before):
        return None
    if not before:
        return 0, changes, line
    *whole, last = before
    same = _align(line[: len(whole)], whole, changes)
    if same is None:
        return None
    there, behind = line[len(whole)], line[len(before) :]
    if not _WORD.fullmatch(last):
        if there != last and not (last.isspace() and there.isspace()):
            return None
        return same + len(last), changes, behind
    expected = _changed([there], changes)
    if expected.startswith(last) and expected != last and (there in changes or expected == there):
        # The word is half written.
        return same + len(last), changes, ["", expected[len(last) :], *behind]
    one = _align([there], [last], changes)
    return None if one is None else (same + one, changes, behind)


def _align(there: list[str], here: list[str], changes: dict[str, str]) -> int | None:
    """Learn how ``there`` was changed to ``here``, into ``changes``; the characters that stay, None if it was not."""
    if len(there) != len(here):
        return None
    same = 0
    for old, new in zip(there, here, strict=True):
        known = changes.get(old)
        if known is not None:
            if known != new:
                return None
        elif old == new:
            same += len(old)
            if _WORD.fullmatch(old):
                changes.setdefault(old, new)
        elif not _WORD.fullmatch(old) or not _WORD.fullmatch(new) or old in _FIXED or new in _FIXED:
            return None
        else:
            if (derived := _changed([old], changes)) != old and derived != new:
                return None
            changes[old] = new
    return same


def _changed(tokens: list[str], changes: dict[str, str]) -> str:
    real = {old: new for old, new in changes.items() if old != new}
    if not real:
        return "".join(tokens)
    variants = _variants(tuple(real.items()))
    out = []
    for token in tokens:
        if token in changes:
            token = changes[token]
        elif len(token) > 2 and _WORD.fullmatch(token):
            for old, new in variants:
                if old in token:
                    token = token.replace(old, new)
                    break
        out.append(token)
    return "".join(out)


@lru_cache(256)
def _variants(changes: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Each change in the spellings that names of one thing have, the longest first; parts that differ count too."""
    pairs: dict[str, str] = {}
    for old, new in changes:
        start = _common_prefix(old, new)
        stop = _common_prefix(old[start:][::-1], new[start:][::-1])
        for one, other in ((old, new), (old[start : len(old) - stop], new[start : len(new) - stop])):
            if len(one) < 3 or len(other) < 2 or one.isdigit():
                continue
            for spell in (str, _camel, _pascal, str.lower, str.upper, _snake):
                pairs.setdefault(spell(one), spell(other))
    return tuple(sorted(((old, new) for old, new in pairs.items() if old != new), key=lambda pair: -len(pair[0])))


def _common_prefix(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _pascal(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _camel(name: str) -> str:
    pascal = _pascal(name)
    return pascal[:1].lower() + pascal[1:]


@lru_cache(4096)
def _tokens_of(line: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(line)[: 2 * _MOST_TOKENS])


def _tokens(line: str) -> list[str]:
    return list(_tokens_of(line))


@lru_cache(4096)
def _shape(line: str) -> str:
    return re.sub(r"\s+", " ", _WORD.sub("a", line))
