"""The entropy bound accepts what arXiv 2505.24857 says, and nothing more."""

import pytest
import torch

from inference.samplers import Draw, EntropyBoundSampler, draw_as_transformers, draw_by_inversion

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
    renoised = EntropyBoundSampler(0.1).renoise(canvas, mask, (10, 13), None)
    assert (renoised[mask] == 99).all()
    assert set(renoised[~mask].tolist()) == {10, 11, 12}


def test_noise_is_uniform_over_its_range() -> None:
    noise = EntropyBoundSampler(0.1).initialize((4, 5000), (3, 7), CPU, torch.Generator().manual_seed(0))
    counts = torch.bincount(noise.flatten(), minlength=8)
    assert counts[:3].sum() + counts[7:].sum() == 0
    assert ((counts[3:7] - 5000).abs() < 300).all()


def test_a_bound_must_be_positive() -> None:
    with pytest.raises(ValueError, match="entropy_bound"):
        EntropyBoundSampler(0.0)


@pytest.mark.parametrize("draw", [draw_by_inversion, draw_as_transformers])
def test_tokens_are_drawn_as_the_logits_say(draw: Draw) -> None:
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.125, 0.375, 0.0])
    logits = probabilities.log().expand(2, 10_000, -1)
    drawn = draw(logits, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 10_000)
    shares = torch.bincount(drawn.flatten(), minlength=6) / 20_000
    assert torch.allclose(shares, probabilities, atol=0.015)
    assert shares[[0, 2, 5]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("draw", [draw_by_inversion, draw_as_transformers])
def test_a_certain_token_is_always_drawn(draw: Draw) -> None:
    for token in (0, 3, 5):
        logits = torch.full((1, 2000, 6), -torch.inf)
        logits[..., token] = 0.0
        assert (draw(logits, None) == token).all()


@pytest.mark.parametrize("draw", [draw_by_inversion, draw_as_transformers])
def test_positions_are_drawn_independently(draw: Draw) -> None:
    drawn = draw(torch.zeros(2, 64, 100), torch.Generator().manual_seed(0))
    assert len(set(drawn.flatten().tolist())) > 50


def test_a_random_number_of_zero_does_not_draw_an_impossible_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.zeros(shape))
    logits = torch.tensor([0.0, 0.0, 0.5, 0.5]).log().expand(1, 3, -1)
    assert draw_by_inversion(logits, None).tolist() == [[2, 2, 2]]
