"""The memory floor: no step is faster than the weights it needs can be read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference.bench.clock import Clock
from inference.models.feed_forward import ManyExperts
from inference.models.frame import LeanPrompt
from inference.models.lean_denoiser import LeanDenoiser
from inference.models.lean_layer import LeanLayer
from inference.models.lean_tensors import tensor_shapes
from inference.models.text_config import TextConfig

GPU_BUFFER_BYTES = 4 * 2**30
CPU_BUFFER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Bandwidth:
    """Gigabytes (1e9) a second: of a copy, counting bytes read and bytes written, and of a sum, which only reads."""

    copy: float
    read: float

    @property
    def best(self) -> float:
        """The higher of the two: what the memory can surely do."""
        return max(self.copy, self.read)


def bandwidth(clock: Clock) -> Bandwidth:
    """Measure the device's memory with buffers many times its cache."""
    size = GPU_BUFFER_BYTES if clock.device.type == "cuda" else CPU_BUFFER_BYTES
    source = torch.randn(size // 4, device=clock.device)
    target = torch.empty_like(source)
    copied = clock.measure(lambda: target.copy_(source))
    summed = clock.measure(source.sum)
    return Bandwidth(2 * size / copied.median_ms / 1e6, size / summed.median_ms / 1e6)


@dataclass(frozen=True)
class StepBytes:
    """Bytes of the weights that one decoder forward needs, each counted once.

    The table of embeddings is in ``always`` once although a step reads it twice (soft embeddings, logits): some kernel
    might keep it, none can do with less.
    """

    always: int
    experts: int

    @classmethod
    def of(cls, config: TextConfig, dtype: torch.dtype, *, fp8: bool = False) -> StepBytes:
        """Count the weights of that shape; with ``fp8`` the large ones take a byte a number, and four a row."""
        always = experts = 0
        for name, shape in tensor_shapes(config).items():
            small = fp8 and "router" not in name and ("_proj" in name)
            size = math.prod(shape) + 4 * math.prod(shape[:-1]) if small else math.prod(shape) * dtype.itemsize
            if ".experts." in name:
                experts += size
            else:
                always += size
        return cls(always, experts)

    @property
    def total(self) -> int:
        """Bytes when every expert is hit."""
        return self.always + self.experts

    def when_hit(self, share: float) -> float:
        """Bytes when only that share of the experts is chosen by any token."""
        return self.always + share * self.experts


def expected_hits(experts: int, chosen: int, tokens: int) -> float:
    """Share of ``experts`` that ``tokens`` tokens, choosing ``chosen`` each evenly at random, hit at least once."""
    return 1.0 - (1.0 - chosen / experts) ** tokens


def measured_hits(denoiser: LeanDenoiser, canvas_ids: Tensor, prompt: LeanPrompt, conditioning: Tensor) -> float:
    """Share of the experts that one forward hits, the mean over the layers."""
    shares: list[float] = []

    def counting(layer: LeanLayer) -> LeanLayer:
        inner = layer.feed_forward
        if not isinstance(inner, ManyExperts):
            return layer

        def counted(normal: Tensor) -> Tensor:
            scores = inner.router(normal)
            chosen = torch.zeros_like(scores, dtype=torch.bool)
            chosen.scatter_(-1, scores.topk(inner.experts.chosen).indices, True)
            shares.append(float(chosen.any(dim=0).float().mean()))
            return inner(normal)

        return replace(layer, feed_forward=counted)

    model = denoiser.model
    counted = LeanDenoiser(replace(model, layers=[counting(layer) for layer in model.layers]))
    counted.denoise(canvas_ids, prompt, conditioning)
    return sum(shares) / len(shares) if shares else 1.0


@dataclass(frozen=True)
class Floor:
    """What a step must read, and how fast this memory gives it."""

    step: StepBytes
    bandwidth: Bandwidth

    def ms(self, share: float = 1.0) -> float:
        """Milliseconds that reading takes when that share of the experts is hit."""
        return self.step.when_hit(share) / self.bandwidth.best / 1e6
