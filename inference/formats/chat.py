"""The format of instruction-tuned checkpoints, which have no training for gaps: clamped gaps, and edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from inference.formats.base import Prepared, Reading
from inference.formats.chat_prompt import ChatPrompt
from inference.formats.clamped import Clamped
from inference.formats.context_budget import ContextBudget
from inference.formats.edit import Edit, EditLayout
from inference.formats.gap_length import LengthConfidence, raw_confidence
from inference.protocol import EditRequest, InfillRequest

_CANVAS_LENGTHS = (16, 32, 64, 128, 256)
_CONTEXT_TOKENS = 8192
"""Of prefix and suffix together: what a keystroke may have to encode anew when a cut moves."""


@dataclass(frozen=True)
class ChatFormat:
    """Infill requests are :class:`Clamped`, edit requests :class:`Edit`."""

    prompt: ChatPrompt
    clamped: Clamped
    edit: Edit
    vocab_size: int
    canvas_lengths: tuple[int, ...]

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> ChatFormat:
        """Read the tokenizer, the chat template and ``gap_length.json``, if there is one; ``config`` is config.json's.

        Raises ValueError, which names the file.
        """
        text_config = config.get("text_config") or {}
        longest = int(config.get("canvas_length", 256))
        positions = int(text_config.get("max_position_embeddings", 8192))
        lengths = (*(length for length in _CANVAS_LENGTHS if length < longest), longest)
        prompt = ChatPrompt.load(folder)
        clamped = Clamped(prompt, lengths, ContextBudget(0), LengthConfidence.load(folder) or raw_confidence)
        budget = ContextBudget(max(8, min(_CONTEXT_TOKENS, positions - longest - clamped.frame_tokens)))
        return cls(
            prompt=prompt,
            clamped=replace(clamped, budget=budget),
            edit=Edit(prompt, lengths, budget, positions),
            vocab_size=int(text_config.get("vocab_size", len(prompt.token_bytes.of))),
            canvas_lengths=lengths,
        )

    @property
    def noise_range(self) -> tuple[int, int]:
        """The whole vocabulary, as the model was trained."""
        return 0, self.vocab_size

    @property
    def confidence_floor(self) -> float:
        """None is known for such a checkpoint."""
        return 0.0

    @property
    def calibration(self) -> None:
        """Nothing is known of its causal encoder's judgement."""

    @property
    def takes_instructions(self) -> bool:
        """Always."""
        return True

    def prepare(self, request: InfillRequest | EditRequest, expected: str | None = None) -> Prepared:
        """See :meth:`Format.prepare`."""
        if isinstance(request, EditRequest):
            return self.edit.prepare(request)
        return self.clamped.prepare(request, expected)

    def read(self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]) -> Reading:
        """See :meth:`Format.read`."""
        return self._kind_of(prepared).read(prepared, row, row_ids, log_probs)

    def following(
        self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]
    ) -> Prepared | None:
        """See :meth:`Format.following`."""
        return self._kind_of(prepared).following(prepared, row, row_ids, log_probs)

    def continuation(self, prepared: Prepared, text: str) -> None:
        """None: the prompt shows the file to a reader, and does not go on as it does."""

    def pieces(self, row_ids: Sequence[int]) -> list[str]:
        """The text of each position; a character of several tokens stands where it is complete."""
        return self.prompt.token_bytes.pieces(row_ids)

    def decisive(self, token_ids: torch.Tensor) -> torch.Tensor:
        """The positions (B, C) bool up to the first token of the ending, ``<turn|>`` or ``<eos>`` to the canvas's end.
        See :class:`Format`."""
        ending = (token_ids == self.prompt.turn_end) | (token_ids == self.prompt.eos)
        inside = ending.flip(-1).long().cumprod(dim=-1).flip(-1) == 0
        decisive = inside.roll(1, dims=-1)  # one more than is inside: the first token of the ending
        decisive[:, 0] = True
        return decisive

    def _kind_of(self, prepared: Prepared) -> Clamped | Edit:
        return self.edit if isinstance(prepared.layout, EditLayout) else self.clamped
