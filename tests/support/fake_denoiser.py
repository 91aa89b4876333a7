"""A denoiser without weights: its logits are whatever a function says, and it remembers what it was shown."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

Logits = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class FakeDenoiser:
    """``logits`` maps canvas ids (B, C) to logits (B, C, V); ``canvases`` and ``conditionings`` are those seen."""

    vocab_size: int
    logits: Logits
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    canvases: list[torch.Tensor] = field(default_factory=list)
    conditionings: list[torch.Tensor | None] = field(default_factory=list)

    def encode(self, prompt_ids: torch.Tensor, past: None = None, shared: int = 0) -> None:
        return None

    def size_bytes(self, prompt: None) -> int:
        return 0

    def denoise(
        self, canvas_ids: torch.Tensor, prompt: None, self_conditioning_logits: torch.Tensor | None
    ) -> torch.Tensor:
        self.canvases.append(canvas_ids.clone())
        self.conditionings.append(self_conditioning_logits)
        return self.logits(canvas_ids)


def random_logits(vocab_size: int, seed: int, scale: float = 3.0) -> Logits:
    """Fresh random numbers at every step."""
    generator = torch.Generator().manual_seed(seed)
    return lambda canvas: scale * torch.randn(*canvas.shape, vocab_size, generator=generator)


def certain_logits(target: torch.Tensor, vocab_size: int, margin: float = 30.0) -> Logits:
    """Always sure of ``target`` (B, C)."""
    return lambda canvas: margin * torch.nn.functional.one_hot(target, vocab_size).float()
