"""Denoisers without weights: what they say is whatever a function says, and they remember what they were shown."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

Logits = Callable[[torch.Tensor], torch.Tensor]
FakePrompt = tuple[int, ...]
"""The prompt itself."""


@dataclass
class FakeDenoiser:
    """``logits`` maps canvas ids (B, C) to logits (B, C, V). An embedding is the one-hot of its token, so D is V.

    ``scores`` maps prompt and row to log p of the row's tokens but the first; by default all are even. ``canvases``,
    ``conditionings`` and ``prompts`` (one per row) are those seen, ``scored`` the rows of each call of :meth:`score`;
    ``encoded`` counts the tokens of each call, ``joined`` the calls of :meth:`side_by_side`, ``released`` those of
    :meth:`release`.
    """

    vocab_size: int
    logits: Logits
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    canvases: list[torch.Tensor] = field(default_factory=list)
    conditionings: list[torch.Tensor] = field(default_factory=list)
    prompts: list[list[FakePrompt]] = field(default_factory=list)
    encoded: list[int] = field(default_factory=list)
    scores: Callable[[FakePrompt, Sequence[int]], list[float]] | None = None
    scored: list[list[tuple[int, ...]]] = field(default_factory=list)
    joined: int = 0
    released: int = 0

    def encode(self, prompt_ids: torch.Tensor, past: FakePrompt | None = None, shared: int = 0) -> FakePrompt:
        ids: FakePrompt = tuple(prompt_ids[0].tolist())
        assert (past or ())[:shared] == ids[:shared]
        self.encoded.append(len(ids) - shared)
        return ids

    def size_bytes(self, prompt: FakePrompt) -> int:
        return 8 * len(prompt)

    def side_by_side(self, prompts: Sequence[FakePrompt]) -> list[FakePrompt]:
        self.joined += 1
        return list(prompts)

    def embeddings(self, token_ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(token_ids, self.vocab_size).float()

    def soft_embeddings(self, probabilities: torch.Tensor) -> torch.Tensor:
        return probabilities

    def denoise(
        self,
        canvas_ids: torch.Tensor,
        prompt: FakePrompt | list[FakePrompt] | None,
        conditioning: torch.Tensor,
        free: torch.Tensor | None = None,
    ) -> torch.Tensor:
        rows = prompt if isinstance(prompt, list) else [prompt or ()] * len(canvas_ids)
        assert len(rows) == len(canvas_ids)
        assert conditioning.shape == (*canvas_ids.shape, self.vocab_size)
        self.canvases.append(canvas_ids.clone())
        self.conditionings.append(conditioning.clone())
        self.prompts.append(rows)
        logits = self.answer(canvas_ids, rows, conditioning).flatten(0, 1)
        return logits if free is None else logits[free]

    def score(self, rows: Sequence[Sequence[int]], prompt: FakePrompt, shared: int) -> list[list[float]]:
        assert rows
        assert 0 <= shared < len(prompt)
        assert all(len(row) > 1 and row[0] == prompt[shared] for row in rows)
        self.scored.append([tuple(row) for row in rows])
        if self.scores is not None:
            return [self.scores(prompt[:shared], row) for row in rows]
        return [[-math.log(self.vocab_size)] * (len(row) - 1) for row in rows]

    def release(self) -> None:
        self.released += 1

    def answer(
        self, canvas_ids: torch.Tensor, prompts: Sequence[FakePrompt], conditioning: torch.Tensor
    ) -> torch.Tensor:
        return self.logits(canvas_ids)


@dataclass
class MixingDenoiser(FakeDenoiser):
    """A random function of a row's whole canvas, its conditioning and its prompt, and of no other row."""

    logits: Logits = torch.zeros_like
    seed: int = 0
    scale: float = 30.0

    def answer(
        self, canvas_ids: torch.Tensor, prompts: Sequence[FakePrompt], conditioning: torch.Tensor
    ) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        # float64, so that the number of rows in a product does not show in the result
        weights = torch.randn(3, self.vocab_size, self.vocab_size, generator=generator, dtype=torch.float64)
        places = torch.randn(512, self.vocab_size, generator=generator, dtype=torch.float64)
        seen = self.embeddings(canvas_ids).double() @ weights[0] + conditioning.double() @ weights[1]
        start = [sum(prompt) * 7 + len(prompt) for prompt in prompts]
        at = torch.tensor(start)[:, None] % 97 + torch.arange(canvas_ids.shape[1])
        hidden = torch.tanh(seen + seen.mean(dim=1, keepdim=True) + places[at])
        return (self.scale / self.vocab_size**0.5 * hidden @ weights[2]).float()


def random_logits(vocab_size: int, seed: int, scale: float = 3.0) -> Logits:
    """Fresh random numbers at every step."""
    generator = torch.Generator().manual_seed(seed)
    return lambda canvas: scale * torch.randn(*canvas.shape, vocab_size, generator=generator)


def certain_logits(target: torch.Tensor, vocab_size: int, margin: float = 30.0) -> Logits:
    """Always sure of ``target``, whose shape ends like the canvas's, or of its beginning."""
    one_hot = margin * torch.nn.functional.one_hot(target, vocab_size).float()
    return lambda canvas: one_hot[..., : canvas.shape[-1], :].expand(*canvas.shape, -1)
