"""Which tokens of a draft a canvas starts from."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.formats.draft_tokens import kept, room_to_rewrite
from inference.protocol import MAX_GAP_TOKENS

STRENGTHS = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(strengths=STRENGTHS, count=st.integers(0, 60), seed=st.one_of(st.none(), st.integers(0, 2**63 - 1)))
def test_each_row_keeps_its_share(strengths: list[float], count: int, seed: int | None) -> None:
    mask = kept(strengths, count, seed)
    assert mask.shape == (len(strengths), count)
    assert mask.sum(dim=-1).tolist() == [count - round(strength * count) for strength in strengths]
    if seed is not None:
        assert torch.equal(mask, kept(strengths, count, seed))


@given(st.integers(1, MAX_GAP_TOKENS))
def test_there_is_room_to_grow(count: int) -> None:
    assert min(count + 16, MAX_GAP_TOKENS) <= room_to_rewrite(count) <= MAX_GAP_TOKENS
