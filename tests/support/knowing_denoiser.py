"""A denoiser that knows one text by heart, and is the surer of it the more of it stands on the canvas already."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tests.support.fake_denoiser import FakeDenoiser, FakePrompt, Logits
from tests.support.fake_format import END, PAD, tokens


@dataclass
class KnowingDenoiser(FakeDenoiser):
    """After a prompt of ``[END, *text so far]`` it wants the rest of ``text`` up to ``end`` characters, then END.

    A position is certain when the canvas holds the right token before it, or at the start of every ``stride``
    positions: so a canvas of noise needs about ``stride`` steps, and one that is right already needs one.
    """

    logits: Logits = torch.zeros_like
    text: str = ""
    end: int = 0
    stride: int = 4

    def answer(
        self, canvas_ids: torch.Tensor, prompts: Sequence[FakePrompt], conditioning: torch.Tensor
    ) -> torch.Tensor:
        length = canvas_ids.shape[1]
        wanted = torch.tensor([self.wanted(len(prompt) - 1, length) for prompt in prompts])
        right = canvas_ids == wanted
        before = torch.cat([torch.ones_like(right[:, :1]), right[:, :-1]], dim=1)
        certain = before | (torch.arange(length) % self.stride == 0)
        one_hot = torch.nn.functional.one_hot(wanted, self.vocab_size).float()
        return one_hot * torch.where(certain, 30.0, 0.5)[..., None]

    def wanted(self, start: int, length: int) -> list[int]:
        """The right canvas behind a prompt of ``start`` characters."""
        rest = tokens(self.text[start : self.end])[:length]
        return (rest + [END] + [PAD] * length)[:length]
