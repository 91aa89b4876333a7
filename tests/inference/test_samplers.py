"""The entropy bound accepts what arXiv 2505.24857 says, and nothing more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.samplers import Draw, EntropyBoundSampler, ExponentialDraw, InversionDraw

CPU = torch.device("cpu")


def accepted(entropies: list[float], bound: float) -> list[bool]:
    entropy = torch.tensor([entropies])
    canvas, candidates = torch.zeros(1, len(entropies), dtype=torch.int64), torch.ones(1, len(entropies)).long()
    chosen, mask = EntropyBoundSampler(bound).accept(canvas, candidates, entropy)
    assert torch.equal(chosen.bool(), mask)
    return mask[0].tolist()


@pytest.mark.parametrize(
    ("entropies", "bound", "expected"),
    [
        ([5.0, 3.0, 4.0], 0.1, [False, True, False]),  # the least entropic position always
        ([0.0, 0.0, 0.0], 0.1, [True, True, True]),  # certain ones cost nothing
        ([0.06, 0.5, 0.05, 0.05], 0.1, [True, False, True, True]),  # 0.05 + 0.05 <= 0.1, 0.16 is not
        ([0.06, 0.5, 0.05, 0.05], 0.2, [True, True, True, True]),
    ],
)
def test_the_bound(entropies: list[float], bound: float, expected: list[bool]) -> None:
    assert accepted(entropies, bound) == expected


def test_each_row_has_its_own_budget() -> None:
    entropy = torch.tensor([[0.0, 0.0], [9.0, 9.5]])
    _, mask = EntropyBoundSampler(0.1).accept(torch.zeros(2, 2).long(), torch.ones(2, 2).long(), entropy)
    assert mask.tolist() == [[True, True], [True, False]]


def test_renoising_touches_only_what_was_not_accepted() -> None:
    canvas, mask = torch.full((2, 50), 99), torch.arange(100).view(2, 50) % 2 == 0
    renoised = EntropyBoundSampler(0.1).renoise(canvas, mask, torch.arange(100).view(2, 50))
    assert (renoised[mask] == 99).all()
    assert torch.equal(renoised[~mask], torch.arange(100).view(2, 50)[~mask])


def test_noise_is_uniform_over_its_range() -> None:
    noise = EntropyBoundSampler(0.1).noise((4, 5000), (3, 7), CPU, torch.Generator().manual_seed(0))
    counts = torch.bincount(noise.flatten(), minlength=8)
    assert counts[:3].sum() + counts[7:].sum() == 0
    assert ((counts[3:7] - 5000).abs() < 300).all()


def test_a_bound_must_be_positive() -> None:
    with pytest.raises(ValueError, match="entropy_bound"):
        EntropyBoundSampler(0.0)


BOTH = pytest.mark.parametrize("draw", [InversionDraw(), ExponentialDraw()])


def drawn(draw: Draw, probabilities: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Tokens (F,) for ``probabilities`` (F, V)."""
    count, vocab_size = probabilities.shape
    numbers = draw.numbers((1, count), vocab_size, CPU, torch.Generator().manual_seed(seed))
    return draw(probabilities, numbers[0])


@BOTH
def test_tokens_are_drawn_as_their_probabilities_say(draw: Draw) -> None:
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.125, 0.375, 0.0])
    tokens = drawn(draw, probabilities.expand(20_000, -1))
    assert tokens.shape == (20_000,)
    shares = torch.bincount(tokens, minlength=6) / 20_000
    assert torch.allclose(shares, probabilities, atol=0.015)
    assert shares[[0, 2, 5]].tolist() == [0, 0, 0]


@BOTH
def test_a_certain_token_is_always_drawn(draw: Draw) -> None:
    for token in (0, 3, 5):
        certain = torch.nn.functional.one_hot(torch.tensor(token), 6).float()
        assert (drawn(draw, certain.expand(2000, -1)) == token).all()


@BOTH
def test_positions_are_drawn_independently(draw: Draw) -> None:
    assert len(set(drawn(draw, torch.full((128, 100), 0.01)).tolist())) > 50


def test_exponential_draws_are_those_of_torch_multinomial() -> None:
    probabilities = torch.rand(50, 30, generator=torch.Generator().manual_seed(1)).softmax(-1)
    theirs = torch.multinomial(probabilities, 1, generator=torch.Generator().manual_seed(0))[:, 0]
    assert torch.equal(drawn(ExponentialDraw(), probabilities), theirs)


def test_a_random_number_of_zero_does_not_draw_an_impossible_token() -> None:
    probabilities = torch.tensor([[0.0, 0.0, 0.5, 0.5]]).expand(3, -1)
    assert InversionDraw()(probabilities, torch.zeros(3, 1)).tolist() == [2, 2, 2]


@settings(max_examples=200, deadline=None)
@given(
    size=st.sampled_from([1, 2, 5, 64, 340, 8192]),
    share_of_zeros=st.floats(0, 0.99),
    seed=st.integers(0, 10**6),
    number=st.one_of(st.floats(0, 1, width=32), st.just(1.0)),  # which rounding can make of what is a little less
)
def test_inversion_by_blocks_is_inversion(size: int, share_of_zeros: float, seed: int, number: float) -> None:
    """The token up to which the probabilities sum to more than the number, up to rounding, and never one of none."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(1, size, generator=generator) ** 4
    weights[torch.rand(1, size, generator=generator) < share_of_zeros] = 0
    weights[0, seed % size] = 0.5
    probabilities = weights / weights.sum()
    token = int(InversionDraw()(probabilities, torch.tensor([[number]])))
    before, with_it = probabilities[0, :token].double().sum(), probabilities[0, : token + 1].double().sum()
    assert probabilities[0, token] > 0
    assert before - 1e-5 <= number <= with_it + 1e-5


def test_what_is_not_a_number_draws_some_token() -> None:
    """The loop says what is wrong, after the step."""
    found = InversionDraw()(torch.full((2, 300), torch.nan), torch.rand(2, 1))
    assert ((found >= 0) & (found < 300)).all()
