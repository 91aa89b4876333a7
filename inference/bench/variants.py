"""The same denoising step in several ways, each a method that times one case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    DiffusionGemmaGenerationConfig,
    EntropyBoundSamplerConfig,
)
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion

from inference.bench.clock import Clock, Timing
from inference.bench.graphed_denoiser import GraphedDenoiser
from inference.canvas import TokenCanvas
from inference.denoising import DenoisingSettings, denoise
from inference.models.base import Denoiser
from inference.models.diffusion_gemma import DiffusionGemmaDenoiser
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature

FILL_CANVAS = 64
FILL_STEPS = 12
NEVER = 1e-9
"""A confidence threshold, in nats, that random weights do not reach: every step is done."""

_BASE_STEPS = 2
"""Steps of the shorter run: its difference to the longer one holds neither the prompt nor the first step, which has no
self-conditioning."""


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


class Variants:
    """What can be timed with one model; ``prompt_tokens`` come before each canvas."""

    def __init__(
        self, model: DiffusionGemmaForBlockDiffusion, clock: Clock, *, prompt_tokens: int, steps: int, seed: int = 0
    ) -> None:
        self.model = model
        self.prompt_tokens = prompt_tokens
        self._clock = clock
        self._steps = steps
        self._denoiser = DiffusionGemmaDenoiser(model)
        self._random = torch.Generator(clock.device).manual_seed(seed)
        self._prompt_ids = self._tokens(1, prompt_tokens)
        self._prompt = self._denoiser.encode(self._prompt_ids)

    def forward(self, case: Case) -> Callable[[], torch.Tensor]:
        """One bare decoder forward, self-conditioned, over a canvas of noise: () -> logits (B, C, V)."""
        canvas_ids, conditioning = self._inputs(case)
        return lambda: self._denoiser.denoise(canvas_ids, self._prompt, conditioning)

    def decoder(self, case: Case) -> Timing:
        """The bare decoder forward."""
        return self._clock.measure(self.forward(case))

    def graph(self, case: Case) -> Timing:
        """The bare decoder forward, captured as a CUDA graph and replayed; see :class:`GraphedDenoiser`."""
        return self._clock.measure(self._graphed(case).replay)

    def ours(self, case: Case) -> Timing:
        """One step of :func:`inference.denoising.denoise`."""
        return self._per_step(lambda steps: self._denoise(self._denoiser, case, steps))

    def ours_graph(self, case: Case) -> Timing:
        """One step of :func:`inference.denoising.denoise` around that graph."""
        graphed = self._graphed(case)
        return self._per_step(lambda steps: self._denoise(graphed, case, steps))

    def generate(self, case: Case) -> Timing:
        """One step of transformers' own ``generate``, uncompiled, with a growing cache."""
        return self._per_step(lambda steps: self._generate(case, steps, None))

    def compiled(self, case: Case) -> Timing:
        """One step of transformers' own ``generate``, compiled, with a static cache."""
        torch._dynamo.reset()
        for name in [name for name in vars(self.model) if name.startswith("_compiled_")]:
            delattr(self.model, name)  # else it recompiles for every shape, the second time a dynamic one
        return self._per_step(lambda steps: self._generate(case, steps, "static"))

    def encode(self) -> Timing:
        """The prompt, read by the encoder."""
        return self._clock.measure(lambda: self._denoiser.encode(self._prompt_ids))

    def fill(self) -> Timing:
        """A whole fill: the prompt, then FILL_STEPS steps over one canvas of FILL_CANVAS tokens."""

        def work() -> None:
            self._prompt = self._denoiser.encode(self._prompt_ids)
            self._denoise(self._denoiser, Case(FILL_CANVAS, 1), FILL_STEPS)

        return self._clock.measure(work)

    def _per_step(self, run: Callable[[int], object]) -> Timing:
        longer = self._clock.measure(lambda: run(_BASE_STEPS + self._steps))
        shorter = self._clock.measure(lambda: run(_BASE_STEPS))
        return longer.per_step(shorter, self._steps)

    def _denoise(self, denoiser: Denoiser, case: Case, steps: int) -> None:
        token_ids = torch.zeros(case.batch, case.canvas, dtype=torch.int64, device=self._clock.device)
        settings = DenoisingSettings(
            EntropyBoundSampler(0.1), LinearTemperature(0.4, 0.8), StableAndConfident(1, NEVER), steps
        )
        done = denoise(
            denoiser,
            self._prompt,
            TokenCanvas(token_ids, torch.zeros_like(token_ids, dtype=torch.bool)),
            settings,
            noise=(0, self._denoiser.vocab_size),
            generator=self._random,
        )
        if done.steps != steps:
            raise RuntimeError(f"it stopped after {done.steps} of {steps} steps")

    def _generate(self, case: Case, steps: int, cache: str | None) -> None:
        self.model.config.canvas_length = case.canvas
        settings = DiffusionGemmaGenerationConfig(
            max_new_tokens=case.canvas,
            max_denoising_steps=steps,
            sampler_config=EntropyBoundSamplerConfig(entropy_bound=0.1),
            t_min=0.4,
            t_max=0.8,
            stability_threshold=1,
            confidence_threshold=NEVER,
            cache_implementation=cache,
        )
        self.model.generate(self._prompt_ids.expand(case.batch, -1), generation_config=settings)

    def _graphed(self, case: Case) -> GraphedDenoiser:
        return GraphedDenoiser(self._denoiser, self._prompt, *self._inputs(case))

    def _inputs(self, case: Case) -> tuple[torch.Tensor, torch.Tensor]:
        """A canvas of noise (B, C), and self-conditioning logits for it (B, C, V)."""
        shape = (case.batch, case.canvas, self._denoiser.vocab_size)
        device, dtype = self._clock.device, self.model.dtype
        conditioning = torch.randn(shape, generator=self._random, device=device, dtype=dtype)
        return self._tokens(case.batch, case.canvas), conditioning

    def _tokens(self, rows: int, length: int) -> torch.Tensor:
        vocab_size, device = self._denoiser.vocab_size, self._clock.device
        return torch.randint(vocab_size, (rows, length), generator=self._random, device=device)
