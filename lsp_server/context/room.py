"""How much the model reads, as its answers tell: tokens are the worker's, here are only characters."""

from __future__ import annotations

from dataclasses import dataclass

from inference.protocol import Usage

CHARACTERS_PER_TOKEN = 3.5
"""Of a document of which nothing was read yet. The embedded tokenizer's median over the standard library is 3.7; the
third of the prefix that a window leaves free makes up for denser text."""

_FILLED = 0.95
"""Text about to be typed may take more tokens than what was read."""


@dataclass(frozen=True)
class Room:
    """``tokens`` that a prompt may have; None as long as none had to be cut."""

    tokens: int | None = None

    def characters(self, per_token: float) -> int | None:
        """Characters of context that the model reads without cutting; None if no bound is known."""
        return None if self.tokens is None else int(self.tokens * per_token * _FILLED)

    def after(self, usage: Usage) -> Room:
        """What is known after another answer.

        A prompt that was cut may be a block shorter than the room; one that was cut although it should have fitted says
        that the room has become smaller.
        """
        if self.tokens is None and not usage.truncated_tokens:
            return self
        shrunk = usage.truncated_tokens and usage.prompt_tokens + usage.truncated_tokens <= (self.tokens or 0)
        return Room(usage.prompt_tokens if shrunk else max(self.tokens or 0, usage.prompt_tokens))


def characters_per_token(sent: int, usage: Usage) -> float:
    """How dense the ``sent`` characters of context were."""
    return sent / max(1, usage.prompt_tokens + usage.truncated_tokens)
