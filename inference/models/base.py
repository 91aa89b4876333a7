"""The denoiser Protocol: all that the denoising loop knows of a model.

Letters in shapes: B canvas rows, C canvas positions, P prompt tokens, D hidden size, V vocabulary, F free positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

PromptCache = Any
"""What :meth:`Denoiser.encode` returns: the prompt's keys and values; opaque, read-only while denoising."""


class Denoiser(Protocol):
    """An encoder that reads the prompt once, and a decoder that predicts the free positions of a canvas at once."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""

    @property
    def device(self) -> torch.device:
        """Where canvases and noise must live."""

    def encode(self, prompt_ids: torch.Tensor, past: PromptCache | None = None, shared: int = 0) -> PromptCache:
        """Encode a prompt: ``prompt_ids`` (1, P) int64 -> its cache. Causal; a long prompt may come in pieces, each
        the prompt so far.

        ``shared``, 0..P: that many first tokens are those of ``past``, an older prompt, and are not encoded again; with
        ``shared`` P nothing is. ``past`` goes on describing its own prompt.
        """

    def size_bytes(self, prompt: PromptCache) -> int:
        """Bytes of memory that ``prompt`` holds."""

    def side_by_side(self, prompts: Sequence[PromptCache]) -> PromptCache:
        """Prompts of different documents for one forward: row b of a canvas (B, C) follows ``prompts[b]``.

        A single prompt from :meth:`encode` needs none of this: it serves canvases of any number of rows. The same
        prompt may stand several times. What is returned is for :meth:`denoise` only.
        """

    def embeddings(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Input embeddings, scaled: ``token_ids`` (...) int64 -> (..., D). A pinned position is conditioned on it."""

    def soft_embeddings(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Expected input embeddings (F, D) under ``probabilities`` (F, V) float32, those of the step before at its
        temperature."""

    def denoise(
        self,
        canvas_ids: torch.Tensor,
        prompt: PromptCache,
        conditioning: torch.Tensor,
        free: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One decoder forward.

        ``canvas_ids`` (B, C) int64; ``conditioning`` (B, C, D), the self-conditioning signal, zero at a row's first
        step; ``free`` (F,) int64, indices into the B * C flattened positions whose logits are wanted, None for all of
        them. Returns soft-capped logits (F, V) float32. Leaves ``prompt`` as it was and does not synchronise with the
        host.
        """

    def score(self, rows: Sequence[Sequence[int]], prompt: PromptCache, shared: int) -> list[list[float]]:
        """Log p (natural, at temperature 1) of each token of ``rows`` but a row's first, under the causal encoder.

        Every row goes on behind the first ``shared`` tokens of ``prompt``, a single one from :meth:`encode`, and is
        read by itself; it holds at least two tokens. Its first token is context: the prompt's own at ``shared``, as
        what follows a prompt is predicted from the last token. Leaves ``prompt`` as it was.
        """

    def release(self) -> None:
        """Drop all memory that holds what can be made again. Weights and prompts stay."""
