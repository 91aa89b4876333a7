"""A compact batched denoiser over the dense model, for evaluation only: the sampler of DiffusionGemma, step by step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma


@dataclass(frozen=True)
class Sampling:
    """The part of `generation_config.json` that a denoiser needs."""

    max_denoising_steps: int = 12
    t_min: float = 0.05
    t_max: float = 0.3
    entropy_bound: float = 3.0
    stability_threshold: int = 1
    confidence_threshold: float = 0.05  # nats, mean entropy over the canvas


@dataclass(frozen=True)
class Fill:
    """One denoised gap: its tokens, whether its end token closed it, exp(mean log p), and the steps it took."""

    gap: list[int]
    closed: bool
    confidence: float
    steps: int


@torch.no_grad()
def denoise(
    model: DenseDiffusionGemma,
    spec: InfillSpec,
    prompts: Sequence[Sequence[int]],
    length: int,
    sampling: Sampling,
    generator: torch.Generator,
) -> list[Fill]:
    """Fill one gap of at most `length` - 1 tokens after each prompt; prompts must fit into the sliding window."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    if int(lengths.max()) >= model.config.window:
        raise ValueError("this evaluation denoiser applies no sliding window")
    padded = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.int64)
    for row, prompt in zip(padded, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    kv = model.encode(padded)
    positions = lengths[:, None] + torch.arange(length)
    visible = torch.arange(padded.shape[1] + length) < lengths[:, None]
    visible[:, padded.shape[1] :] = True
    mask = torch.zeros(visible.shape, dtype=model.dtype).masked_fill_(~visible, -math.inf)[:, None, None]

    canvas = torch.randint(spec.noise_low, spec.noise_high, positions.shape, generator=generator)
    argmax = torch.full_like(canvas, -1)
    log_p = torch.zeros(canvas.shape)
    stable_for = torch.zeros(len(prompts), dtype=torch.int64)
    done = torch.zeros(len(prompts), dtype=torch.bool)
    steps = torch.zeros(len(prompts), dtype=torch.int64)
    soft: Tensor | None = None
    for remaining in range(sampling.max_denoising_steps, 0, -1):
        logits = model.logits(model.decode_hidden(canvas, kv, positions, mask, soft))
        temperature = sampling.t_min + (sampling.t_max - sampling.t_min) * remaining / sampling.max_denoising_steps
        scaled = logits / temperature
        log_scaled = scaled.log_softmax(-1)
        probabilities = log_scaled.exp()
        entropy = -(probabilities * log_scaled).sum(-1)
        best = scaled.argmax(-1)
        best_log_p = logits.log_softmax(-1).gather(-1, best[..., None])[..., 0]

        stable_for = torch.where((best == argmax).all(-1), stable_for + 1, 0)
        argmax = torch.where(done[:, None], argmax, best)
        log_p = torch.where(done[:, None], log_p, best_log_p)
        steps += ~done
        done |= (stable_for >= sampling.stability_threshold) & (entropy.mean(-1) < sampling.confidence_threshold)
        if done.all():
            break
        sampled = torch.multinomial(probabilities.flatten(0, 1), 1, generator=generator).view_as(canvas)
        noise = torch.randint(spec.noise_low, spec.noise_high, canvas.shape, generator=generator)
        canvas = torch.where(accepted(entropy, sampling.entropy_bound), sampled, noise)
        soft = model.soft_embeddings(scaled)
    return [
        _fill(spec, ids, row_log_p, int(count))
        for ids, row_log_p, count in zip(argmax.tolist(), log_p, steps, strict=True)
    ]


def accepted(entropy: Tensor, bound: float) -> Tensor:
    """Positions (B, C) taken in ascending `entropy` while the sum before them is within `bound` (arXiv 2505.24857)."""
    ordered, order = entropy.sort(dim=-1)
    within = ordered.cumsum(-1) - ordered <= bound
    return torch.zeros_like(within).scatter(-1, order, within)


def _fill(spec: InfillSpec, ids: list[int], log_p: Tensor, steps: int) -> Fill:
    gap, closed = spec.gap(ids)
    scored = log_p[: len(gap) + 1]  # the gap and its end token
    return Fill(gap, closed, float(scored.mean().exp()), steps)
