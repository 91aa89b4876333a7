"""What an edit changed, seen as tokens: one name for another, or a piece of code for another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from lsp_server.history import RecentEdit

_TOKEN = re.compile(r"[^\W\d]\w*|\d\w*|\s+|.", re.DOTALL)
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Rename:
    """Every place that an edit touched had ``old`` and has ``new``."""

    old: str
    new: str

    @property
    def as_property(self) -> str:
        """What a shorthand becomes: the property keeps its name."""
        return f"{self.old}: {self.new}"

    @property
    def as_export(self) -> str:
        """What an export becomes: others see it as before."""
        return f"{self.new} as {self.old}"

    def is_spelt_out_by(self, edit: RecentEdit) -> bool:
        """Whether the edit is this renaming where the old name has to stay beside the new one."""
        spelt = re.compile(rf"\b(?:{re.escape(self.as_property)}|{re.escape(self.as_export)})\b")
        if not spelt.search(edit.after):
            return False
        before, after = _tokens(edit.before), _tokens(spelt.sub(self.new, edit.after))
        changed = len(before) == len(after) and {pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]}
        return changed == {(self.old, self.new)}


@dataclass(frozen=True)
class Change:
    """``removed`` became ``inserted`` between ``left`` and ``right`` on a line."""

    left: str
    removed: str
    inserted: str
    right: str

    @cached_property
    def pattern(self) -> str:
        """What stands where the change still has to be made."""
        return self.left + self.removed + self.right

    def follows(self, earlier: Change) -> Change | None:
        """The change that both are, with what their surroundings have in common; None if they differ."""
        if (self.removed, self.inserted) != (earlier.removed, earlier.inserted):
            return None
        return Change(
            _common_end(self.left, earlier.left), self.removed, self.inserted, _common_start(self.right, earlier.right)
        )

    @property
    def is_telling(self) -> bool:
        """Whether the pattern says enough to be looked for: a whole name beside the change, not just punctuation."""
        return any(len(name) > 1 for name in _NAME.findall(self.pattern))


def rename_of(edit: RecentEdit) -> Rename | None:
    """The renaming that an edit is, if it is nothing else."""
    before, after = _tokens(edit.before), _tokens(edit.after)
    if len(before) != len(after):
        return None
    pairs = {(old, new) for old, new in zip(before, after, strict=True) if old != new}
    if len(pairs) != 1:
        return None
    old, new = pairs.pop()
    return Rename(old, new) if _NAME.fullmatch(old) and _NAME.fullmatch(new) else None


def change_of(edit: RecentEdit) -> Change | None:
    """The change within one line that an edit is; None if it touched several, or all of one."""
    if "\n" in edit.before or "\n" in edit.after:
        return None
    before, after = _tokens(edit.before), _tokens(edit.after)
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    left, right = before[:start], before[len(before) - end :]
    removed, inserted = before[start : len(before) - end], after[start : len(after) - end]
    if not (removed or inserted) or not "".join([*left, *right]).strip():
        return None
    return Change("".join(left).lstrip(), "".join(removed), "".join(inserted), "".join(right).rstrip())


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _common_end(one: str, other: str) -> str:
    kept: list[str] = []
    for first, second in zip(reversed(_tokens(one)), reversed(_tokens(other)), strict=False):
        if first != second:
            break
        kept.append(first)
    return "".join(reversed(kept)).lstrip()


def _common_start(one: str, other: str) -> str:
    kept: list[str] = []
    for first, second in zip(_tokens(one), _tokens(other), strict=False):
        if first != second:
            break
        kept.append(first)
    return "".join(kept).rstrip()
