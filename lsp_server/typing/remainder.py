"""What is left of a suggestion when a part of it was typed. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLANK_LINES = re.compile(r"(?:[ \t]*\r?\n)*")


@dataclass(frozen=True)
class Remainder:
    """``text`` is still to come; it replaces ``covered`` characters right of the cursor: closers that it brings too."""

    text: str
    covered: int = 0


def remainder(text: str, typed: str, inserted: str = "") -> Remainder | None:
    """What remains of ``text`` behind ``typed``; None if that is something else, or if nothing visible remains.

    ``inserted`` are closers that the editor has put behind the cursor since.
    """
    rest = _rest(text, typed)
    if rest is None:
        return None
    covered = 0
    if rest.endswith(inserted):
        rest = rest[: len(rest) - len(inserted)]
    elif inserted.isspace() or "\n" in inserted or not _is_within(inserted, rest):
        return None
    else:
        covered = len(inserted)
    return Remainder(rest, covered) if rest.strip() else None


def _rest(text: str, typed: str) -> str | None:
    if text.startswith(typed):
        return text[len(typed) :]
    line = typed.rfind("\n") + 1
    lead = typed[line:]
    if not line or lead.strip() or not text.startswith(typed[:line]):
        return None
    # Enter indented the line that the suggestion leaves blank: it goes on below the blank lines.
    blank = _BLANK_LINES.match(text, line)
    rest = text[blank.end() :] if blank else ""
    return rest[len(lead) :] if rest.startswith(lead) else None


def _is_within(closers: str, rest: str) -> bool:
    """Whether ``closers`` come in this order on the first line of ``rest``."""
    characters = iter(rest.split("\n", 1)[0])
    return all(closer in characters for closer in closers)
