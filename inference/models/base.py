"""The denoiser Protocol: all that the denoising loop knows of a model."""

from __future__ import annotations

from typing import Any, Protocol

import torch

PromptCache = Any
"""What :meth:`Denoiser.encode` returns: the prompt's keys and values; opaque, read-only while denoising."""


class Denoiser(Protocol):
    """An encoder that reads the prompt once, and a decoder that predicts every canvas position at once."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""

    @property
    def device(self) -> torch.device:
        """Where canvases and noise must live."""

    def encode(self, prompt_ids: torch.Tensor, past: PromptCache | None = None, shared: int = 0) -> PromptCache:
        """Encode a prompt: ``prompt_ids`` (B, P) int64 -> its cache. Causal; done once per request.

        ``shared``, 0..P: that many first tokens are those of ``past``, an older prompt of as many rows, and are not
        encoded again; with ``shared`` P nothing is. ``past`` goes on describing its own prompt.
        """

    def size_bytes(self, prompt: PromptCache) -> int:
        """Bytes of memory that ``prompt`` holds."""

    def denoise(
        self,
        canvas_ids: torch.Tensor,
        prompt: PromptCache,
        self_conditioning_logits: torch.Tensor | None,
    ) -> torch.Tensor:
        """One decoder forward.

        ``canvas_ids`` (B, C) int64; ``self_conditioning_logits`` (B, C, V), the temperature-scaled logits of the step
        before, None at the first. Returns soft-capped logits (B, C, V) float32. Leaves ``prompt`` as it was.
        """
