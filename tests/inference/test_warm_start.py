"""What may still be expected in a gap after an answer and some more typing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.warm_start import MAX_TYPED, Answer, Answers, expected

BEFORE, AFTER = "def area(w, h):\n    ", "\n\nprint(area(2, 3))\n"
FILL = "return w * h"
LONG = "".join(f"line number {index}\n" for index in range(100))


def after(typed: str, fill: str = FILL, prefix: str = BEFORE) -> str | None:
    return expected(Answer.near(prefix, AFTER, fill), prefix + typed, AFTER)


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("", None),  # the same question gets the same answer, from the same noise
        ("r", "eturn w * h"),
        ("return w", " * h"),
        (FILL, None),  # nothing left to expect
        (FILL + " + 1", None),
        ("return  w", " * h"),  # a space more
        ("retrun w", " * h"),  # a slip
        ("return x", " * h"),  # another name
        ("return wi", " * h"),  # a longer name: not the rest of the shorter one
        ("yield w", None),  # one word in common is too little to go by
        ("ret_", " w * h"),  # the rest of "return" does not hold, what follows it may
        ("x", " w * h"),
        ("for i in range", None),  # something else
        ("# " + "a comment", None),
    ],
)
def test_typing_on(typed: str, left: str | None) -> None:
    assert after(typed) == left


@pytest.mark.parametrize(
    ("prefix", "left"),
    [(BEFORE + "re", "re" + FILL), (BEFORE, "return" + FILL), (BEFORE[:-2], "  return" + FILL), ("", None)],
)
def test_taking_back(prefix: str, left: str | None) -> None:
    typed = BEFORE + "return"
    found = expected(Answer.near(LONG + typed, AFTER, FILL), LONG + prefix if prefix else "", AFTER)
    assert found == ((typed[len(prefix) :] + FILL) if left else None)


def test_another_suffix_or_another_place_lets_nothing_be_expected() -> None:
    last = Answer.near(LONG + BEFORE, AFTER, FILL)
    assert expected(last, LONG + BEFORE + "r", AFTER) == FILL[1:]
    assert expected(last, LONG + BEFORE + "r", "x" + AFTER) is None
    assert expected(last, LONG[:-200], AFTER) is None
    assert expected(last, LONG + BEFORE.replace("w", "x"), AFTER) is None
    assert expected(last, "", "") is None


def test_a_window_that_moves_on_is_the_same_document() -> None:
    last = Answer.near(LONG + BEFORE, AFTER + LONG, FILL)
    assert expected(last, LONG[700:] + BEFORE + "ret", AFTER + LONG) == "urn w * h"


def test_an_answer_keeps_little_text() -> None:
    last = Answer.near(LONG * 100, LONG * 100, FILL)
    assert len(last.prefix) + len(last.suffix) < 1000


@given(st.text(max_size=400), st.text(min_size=1, max_size=80), st.integers(1, MAX_TYPED))
def test_typing_along_leaves_the_rest(prefix: str, fill: str, count: int) -> None:
    count = min(count, len(fill))
    found = after(fill[:count], fill, "start" + prefix + "|")
    assert found == (fill[count:] if fill[count:].strip() else None)


@given(st.text("ab (.", max_size=30), st.text("ab (.", max_size=90), st.text("ab (.", max_size=30))
def test_what_is_left_always_ends_the_fill(prefix: str, typed: str, fill: str) -> None:
    found = after(typed, fill, prefix)
    assert found is None or (fill.endswith(found) and found.strip())


def test_the_documents_answered_last_are_remembered() -> None:
    answers = Answers(max_documents=2)
    for document in ("a", "b", "a", "c"):
        answers.remember(document, BEFORE, AFTER, document + FILL)
    assert len(answers) == 2
    assert answers.expected("a", BEFORE + "a", AFTER) == FILL
    assert answers.expected("b", BEFORE + "b", AFTER) is None
    assert answers.expected("c", BEFORE + "c", AFTER) == FILL
