"""An experiment: the decoder forward as one CUDA graph, replayed at every step but the first."""

from __future__ import annotations

import torch

from inference.models.base import Denoiser, PromptCache

_TOLERANCE = 1e-2
"""Relative error, far above what bfloat16 sums in another order give."""


class GraphedDenoiser:
    """Behaves as ``inner`` for canvases of one shape after one prompt; the logits it returns last until the next call.

    Raises :class:`RuntimeError` when the forward cannot be captured, or the graph replays to other logits.
    """

    @torch.inference_mode()
    def __init__(
        self, inner: Denoiser, prompt: PromptCache, canvas_ids: torch.Tensor, conditioning: torch.Tensor
    ) -> None:
        if inner.device.type != "cuda":
            raise RuntimeError("needs a CUDA device")
        self._inner, self._canvas_ids, self._conditioning = inner, canvas_ids.clone(), conditioning.clone()
        aside = torch.cuda.Stream(inner.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                inner.denoise(self._canvas_ids, prompt, self._conditioning)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = inner.denoise(self._canvas_ids, prompt, self._conditioning)
        self._check(prompt)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""
        return self._inner.vocab_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._inner.device

    def encode(self, prompt_ids: torch.Tensor, past: PromptCache | None = None, shared: int = 0) -> PromptCache:
        """Encode a prompt, which the graph does not know: it keeps the one it was made with."""
        return self._inner.encode(prompt_ids, past, shared)

    def size_bytes(self, prompt: PromptCache) -> int:
        """Bytes of memory that ``prompt`` holds."""
        return self._inner.size_bytes(prompt)

    def denoise(
        self, canvas_ids: torch.Tensor, prompt: PromptCache, self_conditioning_logits: torch.Tensor | None
    ) -> torch.Tensor:
        """One decoder forward; see :class:`~inference.models.base.Denoiser`."""
        if self_conditioning_logits is None:
            return self._inner.denoise(canvas_ids, prompt, None)
        self._canvas_ids.copy_(canvas_ids)
        self._conditioning.copy_(self_conditioning_logits)
        return self.replay()

    def replay(self) -> torch.Tensor:
        """Denoise what was put in last, once more."""
        self._graph.replay()
        return self._logits

    def _check(self, prompt: PromptCache) -> None:
        """Replay over another canvas than the captured one, and compare."""
        other = self._canvas_ids.flip(-1)
        expected = self._inner.denoise(other, prompt, self._conditioning)
        self._logits.fill_(torch.nan)
        found = self.denoise(other, prompt, self._conditioning)
        error = float((found - expected).norm() / expected.norm())
        if not error < _TOLERANCE:
            raise RuntimeError(f"the replayed graph's logits are off by {error:.1e}")
