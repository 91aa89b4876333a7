"""transformers' own denoising step in several ways, each a method that times one case."""

from __future__ import annotations

import torch
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    DiffusionGemmaGenerationConfig,
    EntropyBoundSamplerConfig,
)
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion

from inference.bench.case import NEVER, Case, Scene
from inference.bench.clock import Timing
from inference.models.diffusion_gemma import DiffusionGemmaDenoiser


class Theirs:
    """What can be timed with transformers' model."""

    def __init__(self, model: DiffusionGemmaForBlockDiffusion, scene: Scene) -> None:
        self.model = model
        self._denoiser = DiffusionGemmaDenoiser(model)
        self._scene = scene
        self._prompt_ids = scene.tokens(1, scene.prompt_tokens)
        self._prompt = self._denoiser.encode(self._prompt_ids)

    def decoder(self, case: Case) -> Timing:
        """The bare decoder forward, self-conditioned, and the logits of every position."""
        shape = (case.batch, case.canvas, self.model.config.text_config.hidden_size)
        device, dtype = self._scene.clock.device, self.model.dtype
        signal = torch.randn(shape, generator=self._scene.random, device=device, dtype=dtype)
        canvas_ids = self._scene.tokens(case.batch, case.canvas)
        return self._scene.clock.measure(lambda: self._denoiser.denoise(canvas_ids, self._prompt, signal))

    def generate(self, case: Case) -> Timing:
        """One step of ``generate``, uncompiled, with a growing cache."""
        return self._scene.per_step(lambda steps: self._generate(case, steps, None))

    def compiled(self, case: Case) -> Timing:
        """One step of ``generate``, compiled, with a static cache."""
        torch._dynamo.reset()
        for name in [name for name in vars(self.model) if name.startswith("_compiled_")]:
            delattr(self.model, name)  # else it recompiles for every shape, the second time a dynamic one
        return self._scene.per_step(lambda steps: self._generate(case, steps, "static"))

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
