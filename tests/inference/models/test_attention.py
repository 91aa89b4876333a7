"""Every way to attend is the same attention."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.models import attention
from inference.models.attention import additive, attend

TOLERANCE = 1e-5


def plain(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """One head at a time, as the definition says it."""
    share = queries.shape[1] // keys.shape[1]
    heads = []
    for head in range(queries.shape[1]):
        scores = queries[:, head] @ keys[:, head // share].transpose(1, 2)
        if mask is not None:
            scores = scores + (mask if mask.dim() == 2 else mask[:, 0])
        heads.append(scores.softmax(-1) @ values[:, head // share])
    return torch.stack(heads, dim=1)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 2),
    share=st.integers(1, 3),
    new=st.integers(1, 40),
    past=st.integers(0, 30),
    window=st.integers(1, 40),
    kind=st.sampled_from(["none", "rows", "causal"]),
    many=st.sampled_from([1, 2**12, 2**20]),
    way=st.sampled_from(["attend", "_by_kernel"]),
)
def test_it_is_attention(
    batch: int, groups: int, share: int, new: int, past: int, window: int, kind: str, many: int, way: str
) -> None:
    generator = torch.Generator().manual_seed(new)
    queries = torch.randn(batch, groups * share, new, 8, generator=generator)
    keys, values = torch.randn(2, batch, groups, past + new, 8, generator=generator)
    mask = None
    if kind == "rows":
        hidden = torch.arange(past + new) < torch.randint(past + 1, (batch, 1), generator=generator)
        mask = additive(~hidden, torch.float32)[:, None, None]
    elif kind == "causal":
        distance = torch.arange(past, past + new)[:, None] - torch.arange(past + new)
        mask = additive((distance >= 0) & (distance < window), torch.float32)
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(attention, "_MANY_SCORES", many)
        patch.setattr(attention, "_LEAST_BLOCK", 3)
        found = getattr(attention, way)(queries, keys, values, mask)
    assert torch.allclose(found, plain(queries, keys, values, mask), atol=TOLERANCE)


def test_a_layer_hands_it_views() -> None:
    """Heads are cut out of one product: not contiguous."""
    queries = torch.randn(1, 10, 4, 8).transpose(1, 2)
    keys, values = torch.randn(2, 1, 2, 50, 8)[..., 5:30, :]
    assert torch.allclose(attend(queries, keys, values, None), plain(queries, keys, values, None), atol=TOLERANCE)


def test_long_views_in_bfloat16_as_well() -> None:
    """As keys and values lie in a room that has space left."""
    queries = (torch.randn(1, 4, 3, 64) / 8).bfloat16()
    keys, values = torch.randn(2, 1, 2, 900, 64).bfloat16()[:, :, :, 5:805]
    with torch.inference_mode():
        found = attend(queries, keys, values, None)
    expected = plain(queries.float(), keys.float(), values.float(), None)
    assert torch.allclose(found.float(), expected, atol=0.05, rtol=0.05)
