"""Both denoisers: a prompt that goes on from an older one gives what encoding from scratch gives, after any edit."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion

from inference.models.base import Denoiser
from inference.models.diffusion_gemma import DiffusionGemmaDenoiser
from inference.models.lean_denoiser import LeanDenoiser
from inference.prefix_cache import shared_length
from tests.support.tiny_checkpoint import tiny_config, tiny_model

VOCABULARY, TOLERANCE = 64, 1e-4
CANVAS = torch.randint(0, VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(1))
TOKENS = st.lists(st.integers(0, VOCABULARY - 1), max_size=12)
PROMPTS = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), TOKENS), min_size=1, max_size=4)
"""Where, as a share of the prompt's length; how many tokens go; which come."""


@cache
def transformers(window: int) -> Denoiser:
    config = tiny_config(VOCABULARY)
    config.text_config.sliding_window = window
    model = DiffusionGemmaForBlockDiffusion(config)
    model.load_state_dict(tiny_model(VOCABULARY, sharpness=20).state_dict())
    return DiffusionGemmaDenoiser(model)


@cache
def lean(window: int) -> Denoiser:
    config = tiny_config(VOCABULARY)
    config.text_config.sliding_window = window
    weights = tiny_model(VOCABULARY, sharpness=20).state_dict()
    return LeanDenoiser.load(config.to_dict(), weights, torch.device("cpu"), torch.float32, lambda *_: None)


BOTH = pytest.mark.parametrize("build", [lean, transformers])


def logits(denoiser: Denoiser, prompt: Any) -> torch.Tensor:
    return denoiser.denoise(CANVAS, prompt, torch.zeros_like(denoiser.embeddings(CANVAS)))


def encoded(denoiser: Denoiser, ids: list[int], past: Any = None, shared: int = 0) -> Any:
    return denoiser.encode(torch.tensor([ids]), past, shared)


@BOTH
@settings(max_examples=25, deadline=None)
@given(window=st.sampled_from([2, 5, 8, 64]), ids=PROMPTS, edits=EDITS)
def test_any_edit(build: Callable[[int], Denoiser], window: int, ids: list[int], edits: list[Any]) -> None:
    denoiser = build(window)
    states = [(encoded(denoiser, ids), ids)]
    before = [logits(denoiser, states[0][0])]
    for share, removed, added in edits:
        past, old = states[-1]
        at = round(share * len(old))
        new = (old[:at] + added + old[at + removed :]) or [0]
        prompt = encoded(denoiser, new, past, shared_length(old, new))
        scratch = logits(denoiser, encoded(denoiser, new))
        assert torch.allclose(logits(denoiser, prompt), scratch, atol=TOLERANCE)
        states.append((prompt, new))
        before.append(logits(denoiser, prompt))
    for (prompt, _), expected in zip(states, before, strict=True):
        assert torch.equal(logits(denoiser, prompt), expected)  # no older prompt was changed


@BOTH
def test_the_past_is_really_read(build: Callable[[int], Denoiser]) -> None:
    """Going on from another prompt gives other logits: else the test above could not fail."""
    denoiser, ids = build(8), list(range(30))
    wrong = encoded(denoiser, ids, encoded(denoiser, ids[::-1]), 20)
    assert not torch.allclose(logits(denoiser, wrong), logits(denoiser, encoded(denoiser, ids)), atol=0.01)


@BOTH
def test_two_prompts_go_on_from_one(build: Callable[[int], Denoiser]) -> None:
    """The second must not write where the first did."""
    denoiser, ids = build(8), list(range(30))
    past = encoded(denoiser, ids, encoded(denoiser, ids[:20]), 20)  # with room to spare
    for ending in ([1, 2], [3, 4], [5]):
        prompt = encoded(denoiser, ids + ending, past, 30)
        assert torch.allclose(logits(denoiser, prompt), logits(denoiser, encoded(denoiser, ids + ending)), atol=1e-4)
    first, second = (encoded(denoiser, [*ids, token], past, 30) for token in (1, 40))
    assert not torch.allclose(logits(denoiser, first), logits(denoiser, second), atol=1e-3)


@BOTH
def test_the_size_covers_every_key_and_value(build: Callable[[int], Denoiser]) -> None:
    denoiser, ids = build(8), list(range(30))
    bytes_per_token = 4 * 2 * (2 * 16 + 2 * 1 * 32)  # float32; a sliding layer, two full ones
    assert denoiser.size_bytes(encoded(denoiser, ids)) == 30 * bytes_per_token
    longer = encoded(denoiser, [*ids, 31], encoded(denoiser, ids), 30)
    assert denoiser.size_bytes(longer) >= 31 * bytes_per_token
