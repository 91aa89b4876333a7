"""Every denoiser against transformers' own forward: logits conditioning, free positions, prompts side by side."""

from collections.abc import Callable
from dataclasses import dataclass
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
from tests.support.tiny_checkpoint import tiny_config, tiny_model

CPU = torch.device("cpu")
VOCABULARY, CANVAS, TOLERANCE = 64, 12, 1e-4
WINDOWS = (8, 16, 32)


@dataclass(frozen=True)
class Pair:
    """A denoiser, and transformers' model with the same weights."""

    denoiser: Denoiser
    reference: DiffusionGemmaForBlockDiffusion


def reference(window: int, experts: int) -> DiffusionGemmaForBlockDiffusion:
    """Random weights with every norm, scale and layer scalar away from one."""
    config = tiny_config(VOCABULARY, experts=experts)
    config.text_config.sliding_window = window
    model = DiffusionGemmaForBlockDiffusion(config)
    model.load_state_dict(tiny_model(VOCABULARY, experts=experts, sharpness=20).state_dict())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("scale"):
                parameter.mul_(0.5 + torch.rand(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.copy_(0.5 + torch.rand(1, generator=generator))
    return model.eval()


@cache
def transformers(window: int) -> Pair:
    model = reference(window, experts=4)
    return Pair(DiffusionGemmaDenoiser(model), model)


@cache
def one_expert(window: int) -> Pair:
    return lean(reference(window, experts=1))


@cache
def many_experts(window: int) -> Pair:
    return lean(reference(window, experts=8))


def lean(model: DiffusionGemmaForBlockDiffusion) -> Pair:
    weights = model.state_dict()
    loaded = LeanDenoiser.load(model.config.to_dict(), weights, CPU, torch.float32, lambda *_: None)
    return Pair(loaded, model)


EVERY = pytest.mark.parametrize("build", [one_expert, many_experts, transformers])


def ids(rows: int, length: int, seed: int) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def signal(rows: int, seed: int) -> torch.Tensor:
    """Logits (B, C, V) of a step before."""
    return 3 * torch.randn(rows, CANVAS, VOCABULARY, generator=torch.Generator().manual_seed(seed))


def conditioning(denoiser: Denoiser, logits: torch.Tensor) -> torch.Tensor:
    soft = denoiser.soft_embeddings(logits.flatten(0, 1).softmax(-1))
    return soft.view(*logits.shape[:2], -1)


@EVERY
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("length", [1, 7, 8, 15, 16, 40])
@torch.inference_mode()
def test_it_equals_transformers(build: Callable[[int], Pair], window: int, length: int) -> None:
    pair, prompt_ids, canvas, logits = build(window), ids(1, length, length), ids(2, CANVAS, 1), signal(2, 2)
    expected = pair.reference(
        input_ids=prompt_ids.expand(2, -1), decoder_input_ids=canvas, self_conditioning_logits=logits
    ).logits
    found = pair.denoiser.denoise(canvas, pair.denoiser.encode(prompt_ids), conditioning(pair.denoiser, logits))
    assert (found.shape, found.dtype) == ((2 * CANVAS, VOCABULARY), torch.float32)
    assert torch.allclose(found.view(2, CANVAS, -1), expected, atol=TOLERANCE)
    plain = pair.reference(input_ids=prompt_ids.expand(2, -1), decoder_input_ids=canvas).logits
    zero = torch.zeros_like(conditioning(pair.denoiser, logits))
    found = pair.denoiser.denoise(canvas, pair.denoiser.encode(prompt_ids), zero)
    assert torch.allclose(found.view(2, CANVAS, -1), plain, atol=TOLERANCE)
    assert not torch.allclose(plain, expected, atol=0.05)  # else the signal would not be seen


@EVERY
@torch.inference_mode()
def test_embeddings_are_those_of_transformers(build: Callable[[int], Pair]) -> None:
    pair, tokens = build(8), ids(2, CANVAS, 1)
    expected = pair.reference.model.decoder.embed_tokens(tokens)
    assert torch.allclose(pair.denoiser.embeddings(tokens), expected, atol=1e-6)
    certain = torch.full((2, CANVAS, VOCABULARY), -torch.inf).scatter(-1, tokens[..., None], 0.0)
    assert torch.allclose(conditioning(pair.denoiser, certain), expected, atol=1e-6)


@EVERY
def test_logits_only_where_the_canvas_is_free(build: Callable[[int], Pair]) -> None:
    denoiser, canvas = build(8).denoiser, ids(3, CANVAS, 1)
    prompt, signals = denoiser.encode(ids(1, 20, 4)), conditioning(denoiser, signal(3, 2))
    free = torch.tensor([0, 5, 11, 12, 30, 35])
    found, every = denoiser.denoise(canvas, prompt, signals, free), denoiser.denoise(canvas, prompt, signals)
    assert found.shape == (6, VOCABULARY)
    assert torch.allclose(found, every[free], atol=1e-5)
    assert denoiser.denoise(canvas, prompt, signals, free[:0]).shape == (0, VOCABULARY)


@EVERY
@settings(max_examples=20, deadline=None)
@given(
    window=st.sampled_from(WINDOWS),
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    again=st.integers(0, 3),
)
def test_side_by_side_equals_each_alone(
    build: Callable[[int], Pair], window: int, lengths: list[int], again: int
) -> None:
    denoiser = build(window).denoiser
    prompts = [denoiser.encode(ids(1, length, length)) for length in lengths]
    prompts.append(prompts[again % len(prompts)])
    canvas, logits = ids(len(prompts), CANVAS, 1), signal(len(prompts), 2)
    signals = conditioning(denoiser, logits)
    beside = denoiser.side_by_side(prompts)
    together = denoiser.denoise(canvas, beside, signals).view(len(prompts), CANVAS, -1)
    for row, prompt in enumerate(prompts):
        alone = denoiser.denoise(canvas[row : row + 1], prompt, signals[row : row + 1])
        assert torch.allclose(together[row], alone, atol=TOLERANCE)
    free = torch.tensor([0, CANVAS * len(prompts) - 1])
    assert torch.allclose(denoiser.denoise(canvas, beside, signals, free), together.flatten(0, 1)[free], atol=1e-5)


@EVERY
def test_side_by_side_leaves_the_prompts_as_they_were(build: Callable[[int], Pair]) -> None:
    denoiser, canvas = build(8).denoiser, ids(1, CANVAS, 1)
    prompts: list[Any] = [denoiser.encode(ids(1, length, length)) for length in (5, 20)]
    signals = conditioning(denoiser, signal(2, 2))
    before = [denoiser.denoise(canvas, prompt, signals[:1]) for prompt in prompts]
    denoiser.denoise(canvas.expand(2, -1), denoiser.side_by_side(prompts), signals)
    for prompt, expected in zip(prompts, before, strict=True):
        assert torch.equal(denoiser.denoise(canvas, prompt, signals[:1]), expected)


def plain_scores(pair: Pair, prompt_ids: list[int], row: list[int]) -> list[float]:
    """Log p of the row's tokens behind its first, by one forward of transformers' encoder over prompt and row."""
    every = torch.tensor([[*prompt_ids, *row]])
    hidden = pair.reference.model.encoder.language_model(input_ids=every).last_hidden_state
    softcap = pair.reference.config.text_config.final_logit_softcapping
    logits = torch.tanh(pair.reference.lm_head(hidden) / softcap) * softcap
    found = logits[:, :-1].log_softmax(-1).gather(-1, every[:, 1:, None])[0, :, 0]
    return [float(log_p) for log_p in found[len(prompt_ids) :]]


@EVERY
@settings(max_examples=20, deadline=None)
@given(
    window=st.sampled_from(WINDOWS),
    length=st.integers(1, 50),
    read_again=st.integers(1, 3),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8),
)
@torch.inference_mode()
def test_scores_are_those_of_one_causal_forward_each(
    build: Callable[[int], Pair], window: int, length: int, read_again: int, lengths: list[int]
) -> None:
    pair = build(window)
    prompt_ids = ids(1, length, length)[0].tolist()
    shared = max(0, length - read_again)
    rows = [[*prompt_ids[shared:], *ids(1, count, 10 + at)[0].tolist()] for at, count in enumerate(lengths)]
    found = pair.denoiser.score(rows, pair.denoiser.encode(torch.tensor([prompt_ids])), shared)
    assert [len(log_probs) for log_probs in found] == [len(row) - 1 for row in rows]
    for row, log_probs in zip(rows, found, strict=True):
        assert log_probs == pytest.approx(plain_scores(pair, prompt_ids[:shared], row), abs=TOLERANCE)


@EVERY
def test_scoring_leaves_the_prompt_as_it_was(build: Callable[[int], Pair]) -> None:
    denoiser, prompt_ids, canvas = build(8).denoiser, ids(1, 20, 4), ids(1, CANVAS, 1)
    prompt, signals = denoiser.encode(prompt_ids), conditioning(denoiser, signal(1, 2))
    before = denoiser.denoise(canvas, prompt, signals)
    last = int(prompt_ids[0, -1])
    rows = [[last, *ids(1, count, count)[0].tolist()] for count in (3, 9)]
    assert denoiser.score(rows, prompt, 19) == denoiser.score(rows, prompt, 19)
    assert torch.equal(denoiser.denoise(canvas, prompt, signals), before)
    longer = denoiser.encode(torch.cat((prompt_ids, ids(1, 3, 7)), dim=1), prompt, 20)
    fresh = denoiser.encode(torch.cat((prompt_ids, ids(1, 3, 7)), dim=1))
    found, expected = (denoiser.denoise(canvas, one, signals) for one in (longer, fresh))
    assert torch.allclose(found, expected, atol=TOLERANCE)
