import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.suggestions.stable_head import STEPS, StableHead


@pytest.mark.parametrize(
    ("drafts", "heads"),
    [
        (["a\nb"] * 3, ["", "", "a"]),
        (["a\nb", "a\nc", "a\nd"], ["", "", "a"]),
        (["a\nb\nc"] * 3, ["", "", "a\nb"]),
        (["x\nb", "a\nb", "a\nb", "a\nb"], ["", "", "", "a"]),
        (["one line"] * 4, [""] * 4),
        (["a \nb"] * 3, ["", "", "a"]),
        (["\nb"] * 3, ["", "", ""]),
    ],
)
def test_the_lines_that_several_steps_agree_on(drafts: list[str], heads: list[str]) -> None:
    stable = StableHead(3)
    assert [stable.after(draft) for draft in drafts] == heads


@given(st.lists(st.text("ab\n", max_size=8), min_size=1, max_size=8))
def test_it_is_a_beginning_of_every_one_of_the_last_drafts(drafts: list[str]) -> None:
    stable = StableHead()
    for number, draft in enumerate(drafts, 1):
        head = stable.after(draft)
        assert all(one.startswith(head) for one in drafts[max(0, number - STEPS) : number])
        assert not head or number >= STEPS
