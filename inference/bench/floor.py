"""The memory floor: no step is faster than the weights it needs can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from inference.bench.clock import Clock

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
    def of(cls, decoder: nn.Module) -> StepBytes:
        """Count the decoder's weights; its embeddings are the output projection too."""
        always = experts = 0
        for name, weight in decoder.named_parameters():
            size = weight.numel() * weight.element_size()
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


def measured_hits(decoder: nn.Module, experts: int, forward: Callable[[], object]) -> float:
    """Share of the experts that one ``forward`` hits, the mean over the layers."""
    shares: list[float] = []

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        shares.append(output[2].unique().numel() / experts)

    routers = [module for name, module in decoder.named_modules() if name.endswith(".router")]
    hooks = [router.register_forward_hook(count) for router in routers]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return sum(shares) / len(shares) if shares else 1.0


@dataclass(frozen=True)
class Floor:
    """What a step must read, and how fast this memory gives it."""

    step: StepBytes
    bandwidth: Bandwidth

    def ms(self, share: float = 1.0) -> float:
        """Milliseconds that reading takes when that share of the experts is hit."""
        return self.step.when_hit(share) / self.bandwidth.best / 1e6
