"""What is measured: a batch of canvases, denoised for a number of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from inference.bench.clock import Clock, Timing
from inference.canvas import TokenCanvas
from inference.denoising import DenoisingSettings, denoise
from inference.models.base import Denoiser, PromptCache
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature

NEVER = 1e-9
"""A confidence threshold, in nats, that random weights do not reach: every step is done."""

_BASE_STEPS = 2
"""Steps of the shorter run: its difference to the longer one holds neither the prompt nor the first step."""


@dataclass(frozen=True)
class Case:
    """A batch of canvases."""

    canvas: int
    batch: int

    @property
    def tokens(self) -> int:
        """Canvas positions in the batch."""
        return self.canvas * self.batch

    def __str__(self) -> str:
        return f"{self.canvas}x{self.batch}"


@dataclass(frozen=True)
class Scene:
    """What every variant is given: the clock, random numbers of one seed, the prompt's length, steps per run."""

    clock: Clock
    prompt_tokens: int
    steps: int
    vocab_size: int
    random: torch.Generator

    def tokens(self, rows: int, length: int) -> torch.Tensor:
        """Random token ids (rows, length)."""
        shape, device = (rows, length), self.clock.device
        return torch.randint(self.vocab_size, shape, generator=self.random, device=device)

    def per_step(self, run: Callable[[int], object]) -> Timing:
        """One step of ``run``, which is given the number of steps to do."""
        longer = self.clock.measure(lambda: run(_BASE_STEPS + self.steps))
        shorter = self.clock.measure(lambda: run(_BASE_STEPS))
        return longer.per_step(shorter, self.steps)

    def loop(self, denoiser: Denoiser, prompt: PromptCache, case: Case, steps: int) -> None:
        """Run :func:`inference.denoising.denoise` for that many steps, every position free."""
        token_ids = torch.zeros(case.batch, case.canvas, dtype=torch.int64, device=self.clock.device)
        settings = DenoisingSettings(
            EntropyBoundSampler(0.1), LinearTemperature(0.4, 0.8), StableAndConfident(1, NEVER), steps
        )
        canvas = TokenCanvas(token_ids, torch.zeros_like(token_ids, dtype=torch.bool))
        noise = (0, self.vocab_size)
        done = denoise(denoiser, prompt, canvas, settings, noise=noise, generator=self.random)
        if done.steps != steps:
            raise RuntimeError(f"it stopped after {done.steps} of {steps} steps")
