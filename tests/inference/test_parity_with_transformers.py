"""With nothing pinned, our loop gives transformers' generate token for token from the same random numbers."""

import shutil
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion

from inference.canvas import TokenCanvas
from inference.canvas_rows import Stopped
from inference.denoising import Denoised, DenoisingSettings, denoise
from inference.models.diffusion_gemma import DiffusionGemmaDenoiser
from inference.samplers import EntropyBoundSampler, ExponentialDraw
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from tests.support.tiny_checkpoint import SLIDING_WINDOW, tiny_model

VOCABULARY = 64
SEEDS = range(4)


@dataclass(frozen=True)
class Knobs:
    """What both loops are told."""

    entropy_bound: float = 0.1
    t_min: float = 0.4
    t_max: float = 0.8
    stability: int = 1
    confidence: float = 0.005
    steps: int = 12


STOCK = Knobs()
EAGER = Knobs(entropy_bound=8.0, t_min=0.2, t_max=0.4, confidence=0.3, steps=24)
"""Settings with which a random model, sharpened, becomes stable and confident after a few steps."""
PATIENT = Knobs(entropy_bound=8.0, t_min=0.2, t_max=0.4, stability=3, confidence=0.3, steps=24)


@cache
def sharp_model(seed: int) -> DiffusionGemmaForBlockDiffusion:
    """Making one takes longer than running it."""
    return tiny_model(VOCABULARY, sharpness=100, seed=seed)


def theirs(
    model: DiffusionGemmaForBlockDiffusion, prompt: torch.Tensor, length: int, knobs: Knobs, seed: int, **how: Any
) -> tuple[torch.Tensor, list[int]]:
    """The canvas (B, C) and the steps of each row by transformers."""
    torch.manual_seed(seed)
    model.config.canvas_length = length
    output = model.generate(
        prompt,
        **{"max_new_tokens": length, "disable_compile": True} | how,
        max_denoising_steps=knobs.steps,
        sampler_config=EntropyBoundSamplerConfig(entropy_bound=knobs.entropy_bound),
        t_min=knobs.t_min,
        t_max=knobs.t_max,
        stability_threshold=knobs.stability,
        confidence_threshold=knobs.confidence,
    )
    tokens = output.sequences[:, prompt.shape[1] :]
    return tokens, (tokens.shape[1] / output.tokens_per_forward).round().int().tolist()


def ours(
    model: DiffusionGemmaForBlockDiffusion, prompt: torch.Tensor, length: int, knobs: Knobs, canvases: int = 1
) -> list[Denoised]:
    """One result per canvas; takes its random numbers from the global generator. All rows of ``prompt`` are equal."""
    denoiser = DiffusionGemmaDenoiser(model)
    settings = DenoisingSettings(
        EntropyBoundSampler(knobs.entropy_bound),
        LinearTemperature(knobs.t_min, knobs.t_max),
        StableAndConfident(knobs.stability, knobs.confidence),
        knobs.steps,
        ExponentialDraw(),
    )
    results: list[Denoised] = []
    for _ in range(canvases):
        token_ids = torch.zeros(prompt.shape[0], length, dtype=torch.int64)
        canvas = TokenCanvas(token_ids, pinned=torch.zeros_like(token_ids, dtype=torch.bool))
        results.append(denoise(denoiser, denoiser.encode(prompt[:1]), canvas, settings, noise=(0, VOCABULARY)))
        prompt = torch.cat([prompt, torch.tensor(results[-1].token_ids)], dim=-1)
    return results


def prompt_of(rows: int, length: int, seed: int) -> torch.Tensor:
    one = torch.randint(0, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(seed))
    return one.expand(rows, -1)


@pytest.mark.parametrize("knobs", [STOCK, EAGER, PATIENT], ids=["stock", "eager", "patient"])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("length", [8, 16, 32])
# transformers' static cache loses prompt tokens beyond the window (its dynamic cache, the reference, does not)
@pytest.mark.parametrize(("kept", "prompt_length"), [("dynamic", 20), ("static", SLIDING_WINDOW - 1)])
def test_token_for_token(kept: str, prompt_length: int, length: int, rows: int, knobs: Knobs) -> None:
    for seed in SEEDS:
        model, prompt = sharp_model(seed), prompt_of(rows, prompt_length, seed)
        how = {} if kept == "dynamic" else {"cache_implementation": "static"}
        expected, steps = theirs(model, prompt, length, knobs, seed, **how)
        torch.manual_seed(seed)
        (found,) = ours(model, prompt, length, knobs)
        assert found.token_ids == expected.tolist()
        assert found.steps == max(steps)
        for row, taken in zip(found.rows, steps, strict=True):
            assert row.stopped is Stopped.STABLE or taken == knobs.steps


def test_the_cases_stop_early_and_row_by_row() -> None:
    """Else the parity above would not reach the stop test nor the frozen rows."""
    steps = [theirs(sharp_model(seed), prompt_of(2, 20, seed), 8, EAGER, seed)[1] for seed in SEEDS]
    assert all(min(rows) < EAGER.steps for rows in steps)
    assert any(max(rows) < EAGER.steps and rows[0] != rows[1] for rows in steps)


def test_a_model_with_one_expert() -> None:
    model, prompt = tiny_model(VOCABULARY, experts=1, sharpness=100), prompt_of(2, 20, 0)
    expected, _ = theirs(model, prompt, 16, STOCK, 0)
    torch.manual_seed(0)
    assert ours(model, prompt, 16, STOCK)[0].token_ids == expected.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_two_canvases(seed: int) -> None:
    model, prompt = sharp_model(seed), prompt_of(1, 20, seed)
    expected, _ = theirs(model, prompt, 8, EAGER, seed, max_new_tokens=16)
    torch.manual_seed(seed)
    first, second = ours(model, prompt, 8, EAGER, canvases=2)
    assert [first.token_ids[0] + second.token_ids[0]] == expected.tolist()


@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs g++")
def test_the_compiled_static_path(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor, "fallback_random", True)  # compiled code draws the same numbers as eager code
    model, prompt = tiny_model(VOCABULARY, experts=1, sharpness=100), prompt_of(2, SLIDING_WINDOW - 1, 0)
    how = {"cache_implementation": "static", "disable_compile": False}
    expected, steps = theirs(model, prompt, 8, EAGER, 0, **how)
    torch.manual_seed(0)
    (found,) = ours(model, prompt, 8, EAGER)
    assert found.token_ids == expected.tolist()
    assert found.steps == max(steps) < EAGER.steps
