"""What of a long document is kept: the near text, whole blocks of it, and every token that is not is counted."""

from hypothesis import given
from hypothesis import strategies as st

from inference.formats.context_budget import ContextBudget


def encode(text: str) -> list[int]:
    return list(map(ord, text))


@given(tokens=st.integers(1, 60), prefix=st.text(max_size=150), suffix=st.text(max_size=150))
def test_near_text_is_kept_and_every_cut_counted(tokens: int, prefix: str, suffix: str) -> None:
    context = ContextBudget(tokens).fit(prefix, suffix, encode)
    kept = len(context.prefix_ids) + len(context.suffix_ids)
    assert kept <= tokens
    assert encode(prefix)[len(prefix) - len(context.prefix_ids) :] == context.prefix_ids
    assert encode(suffix)[: len(context.suffix_ids)] == context.suffix_ids
    if max(len(prefix), len(suffix)) <= tokens * 8:  # beyond it the count is an estimate
        assert context.truncated_tokens == len(prefix) + len(suffix) - kept


@given(tokens=st.integers(8, 60), prefix=st.integers(0, 200), suffix=st.integers(0, 200))
def test_a_short_side_leaves_its_share_to_the_other(tokens: int, prefix: int, suffix: int) -> None:
    budget = ContextBudget(tokens)
    context = budget.fit("p" * prefix, "s" * suffix, encode)
    if prefix + suffix <= tokens:
        assert context.truncated_tokens == 0
    else:
        assert len(context.prefix_ids) + len(context.suffix_ids) > tokens - 2 * budget.block


def test_what_fits_is_shared_as_it_is() -> None:
    context = ContextBudget(20).share([1] * 10, [2] * 10)
    assert (context.prefix_ids, context.suffix_ids, context.truncated_tokens) == ([1] * 10, [2] * 10, 0)
