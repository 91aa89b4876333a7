from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from lsp_server.rewriting.changes import Change, applied, minimal

LINES = st.lists(st.sampled_from(["a", "b", "ab", "", "  a"]), max_size=8)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(LINES, LINES, ENDS, ENDS, st.integers(0, 3))
def test_what_is_applied_is_what_was_meant(old: list[str], new: list[str], end: str, other: str, start: int) -> None:
    before, after = end.join(old), other.join(new)
    changes = minimal(before, after, start)
    assert applied("x" * start + before, changes) == "x" * start + after
    for change in changes:
        for offset in (change.start - start, change.end - start):
            assert before[max(0, offset - 1) : offset + 1] != "\r\n" or offset == 0, "no edit splits a CRLF"
    assert all(one.end <= two.start for one, two in pairwise(changes))


def test_only_what_differs_is_touched() -> None:
    assert minimal("a\nbcd\ne\n", "a\nbxd\ne\n", 10) == (Change(13, 14, "x"),)
    assert minimal("a\nb\nc\nd\n", "A\nb\nc\nD\n") == (Change(0, 1, "A"), Change(6, 7, "D"))
    assert minimal("same", "same") == ()
    assert minimal("", "new") == (Change(0, 0, "new"),)


def test_a_very_long_text_is_one_change() -> None:
    before = "a\n" * 5000
    after = "b\n" + before + "c\n"
    (change,) = minimal(before, after)
    assert applied(before, [change]) == after
