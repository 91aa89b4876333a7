"""What an earlier answer lets one expect in the gap after some more typing. Pure text.

The next canvas starts from it instead of noise; a wrong guess costs a few steps, a right one saves most of them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from itertools import takewhile
from operator import eq

MAX_TYPED = 64
"""Characters typed, or taken back, beyond which an answer is taken for out of date."""

ANCHOR = 256
"""Characters before a gap by which it is known again."""

REMEMBERED = ANCHOR + MAX_TYPED
MAX_COMPARED = 128
"""Characters of a fill that typing which contradicts it is aligned to."""


@dataclass(frozen=True)
class Answer:
    """A fill, and the text around the gap when it was made; only the ends of that text next to the gap are kept."""

    prefix: str
    suffix: str
    fill: str

    @classmethod
    def near(cls, prefix: str, suffix: str, fill: str) -> Answer:
        """Cut ``prefix`` and ``suffix`` to what is needed to know the gap again."""
        return cls(prefix[-REMEMBERED:], suffix[:REMEMBERED], fill)


class Answers:
    """The last answer of each of the ``max_documents`` documents that were answered last. For one thread."""

    def __init__(self, max_documents: int = 32) -> None:
        self._max_documents = max_documents
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def __len__(self) -> int:
        """Number of documents remembered."""
        return len(self._answers)

    def remember(self, document: str, prefix: str, suffix: str, fill: str) -> None:
        """Put this answer in the place of an older one of ``document``."""
        self._answers[document] = Answer.near(prefix, suffix, fill)
        self._answers.move_to_end(document)
        while len(self._answers) > self._max_documents:
            self._answers.popitem(last=False)

    def expected(self, document: str, prefix: str, suffix: str) -> str | None:
        """What :func:`expected` says after the last answer of ``document``."""
        last = self._answers.get(document)
        return None if last is None else expected(last, prefix, suffix)


def expected(last: Answer, prefix: str, suffix: str) -> str | None:
    """The text to expect between ``prefix`` and ``suffix`` after ``last``; None when there is nothing to go by.

    Typing along leaves the rest of the fill; text taken back comes before the fill again; typing that contradicts the
    fill leaves what still holds behind it. Nothing typed is the same question, not a new one.
    """
    if suffix[:REMEMBERED] != last.suffix:
        return None
    typed = _typed_since(last.prefix, prefix)
    if typed == "":
        return None  # the same question: it gets the same answer when it starts from the same noise
    if typed is not None:
        left = _left_over(last.fill, typed)
    else:
        taken_back = _typed_since(prefix, last.prefix)
        left = "" if taken_back is None else taken_back + last.fill
    return left if left.strip() else None


def _typed_since(before: str, now: str) -> str | None:
    """What was typed behind ``before`` to make it ``now``; None when something else changed, or too much.

    The far start of either may have been cut off; a text shorter than the anchor is taken to be whole.
    """
    anchor, near = before[-ANCHOR:], now[-REMEMBERED:]
    if len(before) < ANCHOR:
        at, near = (0 if now.startswith(before) else -1), now
    else:
        at = near.rfind(anchor)
    typed = near[at + len(anchor) :]
    return typed if at >= 0 and len(typed) <= MAX_TYPED else None


def _left_over(fill: str, typed: str) -> str:
    """What of ``fill`` may still follow ``typed``; empty when they have too little in common."""
    same = sum(takewhile(bool, map(eq, fill, typed)))
    if same == len(typed):
        return fill[same:]
    consumed, edits = _aligned(typed[same:], fill[same : same + MAX_COMPARED])
    if 2 * edits > len(typed) + 1:
        return ""
    left = fill[same + consumed :]
    if _last_word(typed) != _last_word(fill[: same + consumed]):
        left = _WORD_START.sub("", left)  # the rest of a word that is being typed differently
    return left


def _aligned(typed: str, fill: str) -> tuple[int, int]:
    """How many first characters of ``fill`` ``typed`` stands for, and the edit distance between the two.

    A letter in the place of a space or a sign counts as two edits: a longer word, not another one. Of the beginnings of
    ``fill`` that are as near, the one whose length is nearest.
    """
    distances = list(range(len(fill) + 1))
    for row, character in enumerate(typed, 1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(fill, 1):
            diagonal, distances[column] = (
                distances[column],
                min(diagonal + _difference(character, other), distances[column] + 1, distances[column - 1] + 1),
            )
    consumed = min(range(len(distances)), key=lambda end: (distances[end], abs(end - len(typed))))
    return consumed, distances[consumed]


def _difference(one: str, other: str) -> int:
    if one == other:
        return 0
    return 1 if bool(_WORD_START.match(one)) == bool(_WORD_START.match(other)) else 2


def _last_word(text: str) -> str:
    found = _WORD_END.search(text)
    return found.group() if found else ""


_WORD_START, _WORD_END = re.compile(r"^\w+"), re.compile(r"\w*$")
