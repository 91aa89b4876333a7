"""A format without a tokenizer: one token per character. It obeys the Protocol and keeps what it was asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from inference.canvas import TokenCanvas
from inference.formats.base import Continuation, Prepared, Reading
from inference.formats.calibration import Calibration
from inference.protocol import EditRequest, FinishReason, Fixed, InfillRequest, Masked

END, PAD, FIRST = 0, 1, 2
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .,:;()[]{}=+-*/<>_\n\"'#!?"
VOCABULARY = FIRST + len(LETTERS)


def tokens(text: str) -> list[int]:
    """One token per character; what is not in the alphabet is a space."""
    return [FIRST + LETTERS.find(c if c in LETTERS else " ") for c in text]


def text_of(ids: Sequence[int]) -> str:
    return "".join(LETTERS[token - FIRST] for token in ids if token >= FIRST)


@dataclass(frozen=True)
class Layout:
    """The gaps that are still to be filled, the texts between them, what is filled, and log p and count of that."""

    gaps: tuple[int, ...]
    texts: tuple[str, ...]
    fills: tuple[str, ...] = ("",)
    log_prob: float = 0.0
    scored: int = 0


@dataclass
class FakeFormat:
    """The prompt is the text before the gap; the canvas is the gap's text, END, PAD after PAD."""

    canvas_lengths: tuple[int, ...] = (4, 8, 16)
    takes_instructions: bool = False
    confidence_floor: float = 0.25
    noise_range: tuple[int, int] = (FIRST, VOCABULARY)
    calibration: Calibration | None = None
    expected: list[str | None] = field(default_factory=list)

    def prepare(self, request: InfillRequest | EditRequest, expected: str | None = None) -> Prepared:
        self.expected.append(expected)
        if isinstance(request, EditRequest):
            layout = Layout((len(request.selection),), (request.prefix, request.suffix))
        else:
            gaps = tuple(segment.max_tokens for segment in request.segments if isinstance(segment, Masked))
            texts = [""]
            for segment in request.segments:
                if isinstance(segment, Fixed):
                    texts[-1] += segment.text
                else:
                    texts.append("")
            layout = Layout(gaps, tuple(texts))
        return self._prepared(layout, request.n, expected)

    def read(self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]) -> Reading:
        layout, closed = self._filled(prepared, row_ids, log_probs)
        confidence = math.exp(layout.log_prob / layout.scored) if layout.scored else 0.0
        fills = layout.fills + ("",) * (len(layout.gaps) - len(layout.fills))
        return Reading(fills, confidence, FinishReason.GAP_END if closed else FinishReason.LENGTH)

    def following(
        self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]
    ) -> Prepared | None:
        layout, closed = self._filled(prepared, row_ids, log_probs)
        left = layout.gaps[len(layout.fills) - 1] - len(layout.fills[-1])
        if closed or not left:
            if len(layout.fills) == len(layout.gaps):
                return None
            layout = replace(layout, fills=(*layout.fills, ""))
        return self._prepared(layout, 1)

    def continuation(self, prepared: Prepared, text: str) -> Continuation | None:
        layout = prepared.layout
        assert isinstance(layout, Layout)
        if len(layout.gaps) > 1 or len(text) > layout.gaps[0]:
            return None
        behind = tokens(layout.texts[1][:1])
        last = len(prepared.prompt_ids) - 1
        return Continuation(last, (prepared.prompt_ids[last], *tokens(text), *behind), len(behind))

    def pieces(self, row_ids: Sequence[int]) -> list[str]:
        return [text_of([token]) for token in row_ids]

    def decisive(self, token_ids: torch.Tensor) -> torch.Tensor:
        control = token_ids < FIRST
        return control.cumsum(dim=-1) - control.long() == 0

    def _prepared(self, layout: Layout, rows: int, expected: str | None = None) -> Prepared:
        at = len(layout.fills) - 1
        left = layout.gaps[at] - len(layout.fills[at])
        length = next((n for n in self.canvas_lengths if n > left), self.canvas_lengths[-1])
        row = torch.full((length,), PAD)
        warm = torch.zeros(length, dtype=torch.bool)
        if expected is not None:
            draft = [*tokens(expected), END][:length]
            row[: len(draft)], warm[: len(draft)] = torch.tensor(draft), True
        before = "".join(text + fill for text, fill in zip(layout.texts[: at + 1], layout.fills, strict=True))
        canvas = row.expand(rows, -1).clone()
        return Prepared(
            prompt_ids=[END, *tokens(before)],
            canvas=TokenCanvas(
                canvas,
                pinned=torch.zeros_like(canvas, dtype=torch.bool),
                warm=warm.expand(rows, -1).clone() if expected is not None else None,
            ),
            layout=layout,
        )

    def _filled(self, prepared: Prepared, row_ids: Sequence[int], log_probs: Sequence[float]) -> tuple[Layout, bool]:
        layout = prepared.layout
        assert isinstance(layout, Layout)
        left = layout.gaps[len(layout.fills) - 1] - len(layout.fills[-1])
        count = next((at for at, token in enumerate(row_ids) if token < FIRST), len(row_ids))
        closed = count < len(row_ids) and count <= left
        count = min(count, left)
        filled = layout.fills[-1] + text_of(row_ids[:count])
        scored = count + closed
        return replace(
            layout,
            fills=(*layout.fills[:-1], filled),
            log_prob=layout.log_prob + sum(log_probs[:scored]),
            scored=layout.scored + scored,
        ), closed
