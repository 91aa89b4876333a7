"""A denoiser that knows what stands in a gap, and senses whether the pinned suffix stands where it should."""

from __future__ import annotations

import math

import torch

from tests.support.fake_denoiser import FakeDenoiser, FakePrompt


class SuffixSensingDenoiser(FakeDenoiser):
    """Answers each known gap token by token.

    ``answers`` maps the last prompt token to the gap's tokens and to the token that the suffix starts with. Where the
    suffix stands right behind the gap's length, the answer's tokens have probability ``right(L)`` each, elsewhere
    ``wrong(L)``, spread a little from row to row; both fall as L rises, as those of real models do: so the likeliest
    row is nearly always a short wrong one. An embedding is the one-hot of its token.
    """

    def __init__(self, vocab_size: int, answers: dict[int, tuple[list[int], int]]) -> None:
        super().__init__(vocab_size, lambda canvas: torch.empty(0))
        self.answers = answers

    @staticmethod
    def right(length: int) -> float:
        """Probability of each token at the right length."""
        return math.exp(-0.05 - 0.25 * math.log(length))

    @staticmethod
    def wrong(length: int, spread: float) -> float:
        """At a wrong length; ``spread`` in -1..1."""
        return math.exp(-0.2 - 0.45 * math.log(length) + 0.1 * spread)

    def denoise(
        self,
        canvas_ids: torch.Tensor,
        prompt: FakePrompt | list[FakePrompt] | None,
        conditioning: torch.Tensor,
        free: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert prompt is not None
        prompts = prompt if isinstance(prompt, list) else [prompt] * len(canvas_ids)
        rows = [self._row(ids.tolist(), row) for ids, row in zip(canvas_ids, prompts, strict=True)]
        logits = torch.stack(rows).flatten(0, 1)
        return logits if free is None else logits[free]

    def _row(self, ids: list[int], prompt: FakePrompt) -> torch.Tensor:
        gap, suffix_start = self.answers[prompt[-1]]
        length = len(ids) - 1 - ids[::-1].index(suffix_start)  # the last one is pinned, any other is noise
        spread = math.sin(12.9898 * length + 78.233 * prompt[-1])
        probability = self.right(length) if length == len(gap) else self.wrong(length, spread)
        rest = math.log((1 - probability) / (self.vocab_size - 1))
        logits = torch.full((len(ids), self.vocab_size), rest)
        for at in range(len(ids)):
            logits[at, gap[at % len(gap)]] = math.log(probability)
        return logits
