"""Our own denoising step in several ways, each a method that times one case."""

from __future__ import annotations

from collections.abc import Callable

import torch

from inference.bench.case import Case, Scene
from inference.bench.clock import Timing
from inference.models.frame import LeanPrompt
from inference.models.graphed import GraphedDenoiser
from inference.models.lean_denoiser import LeanDenoiser

FILL_CANVAS = 64
FILL_STEPS = 12


class Ours:
    """What can be timed with the lean model."""

    def __init__(self, denoiser: LeanDenoiser, scene: Scene) -> None:
        self.denoiser = denoiser
        self._graphed = GraphedDenoiser(denoiser)
        self._scene = scene
        self._prompt_ids = scene.tokens(1, scene.prompt_tokens)
        self._prompt = denoiser.encode(self._prompt_ids)

    def lean(self, case: Case) -> Timing:
        """The bare decoder forward."""
        inputs = self.inputs(case)
        return self._scene.clock.measure(lambda: self.denoiser.denoise(*inputs))

    def graph(self, case: Case) -> Timing:
        """The bare decoder forward as a CUDA graph, its inputs and outputs copied."""
        inputs = self.inputs(case)
        return self._in_graphs(lambda: self._scene.clock.measure(lambda: self._graphed.denoise(*inputs)))

    def ours(self, case: Case) -> Timing:
        """One step of :func:`inference.denoising.denoise`."""
        return self._scene.per_step(lambda steps: self._scene.loop(self.denoiser, self._prompt, case, steps))

    def ours_graph(self, case: Case) -> Timing:
        """One step of :func:`inference.denoising.denoise` around that graph."""
        run = self._scene.loop
        return self._in_graphs(
            lambda: self._scene.per_step(lambda steps: run(self._graphed, self._prompt, case, steps))
        )

    def encode(self) -> Timing:
        """The prompt, read by the encoder."""
        return self._scene.clock.measure(lambda: self.denoiser.encode(self._prompt_ids))

    def fill(self) -> Timing:
        """A whole fill: the prompt, then FILL_STEPS steps over one canvas of FILL_CANVAS tokens."""

        def work() -> None:
            prompt = self.denoiser.encode(self._prompt_ids)
            self._scene.loop(self._graphed, prompt, Case(FILL_CANVAS, 1), FILL_STEPS)

        return self._scene.clock.measure(work)

    def _in_graphs(self, measure: Callable[[], Timing]) -> Timing:
        """Measure, and see that a graph was there to be measured: without one it would be the eager way."""
        if self._scene.clock.device.type != "cuda":
            raise RuntimeError("needs a CUDA device")
        timing = measure()
        if not self._graphed.recordings:
            raise RuntimeError("the forward could not be recorded")
        return timing

    def inputs(self, case: Case) -> tuple[torch.Tensor, LeanPrompt, torch.Tensor]:
        """A canvas of noise (B, C), the prompt, and a signal (B, C, D)."""
        shape = (case.batch, case.canvas, self.denoiser.model.config.hidden_size)
        device, dtype = self._scene.clock.device, self.denoiser.model.dtype
        signal = torch.randn(shape, generator=self._scene.random, device=device, dtype=dtype)
        return self._scene.tokens(case.batch, case.canvas), self._prompt, signal
