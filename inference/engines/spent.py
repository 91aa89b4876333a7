"""What a request has cost so far."""

from __future__ import annotations

import time
from dataclasses import dataclass

from inference.protocol import Timings, Usage


@dataclass
class Spent:
    """Tokens of its first prompt, and those of it that were encoded for this request; positions of all canvases, warm
    ones of the first; steps of all, and seconds of these and of judging."""

    prompt_tokens: int = 0
    encoded_tokens: int = 0
    canvas_tokens: int = 0
    warm_tokens: int = 0
    steps: int = 0
    encode_s: float = 0.0
    denoise_s: float = 0.0

    def usage(self, truncated_tokens: int) -> Usage:
        """As the answer tells it; ``truncated_tokens`` were cut from the context."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.prompt_tokens - self.encoded_tokens,
            canvas_tokens=self.canvas_tokens,
            denoising_steps=self.steps,
            truncated_tokens=truncated_tokens,
            warm_tokens=self.warm_tokens,
        )

    def timings(self, began: float) -> Timings:
        """Milliseconds, of a request taken on at ``began``, a ``time.monotonic()``; the queue's are not known here."""
        return Timings(
            queue=0.0,
            encode=1000 * self.encode_s,
            denoise=1000 * self.denoise_s,
            total=1000 * (time.monotonic() - began),
        )
