"""The format Protocol: between text and tokens. Pure; holds a tokenizer, never a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from inference.canvas import TokenCanvas
from inference.formats.calibration import Calibration
from inference.protocol import EditRequest, FinishReason, InfillRequest


@dataclass(frozen=True)
class Prepared:
    """A request in tokens, or the next canvas of one.

    ``prompt_ids`` (P,) is shared by all rows of ``canvas``; ``truncated_tokens`` were cut from the far ends of the
    context to fit; ``layout`` is the format's own: where the gaps lie in each row, what earlier canvases have filled.
    """

    prompt_ids: list[int]
    canvas: TokenCanvas
    truncated_tokens: int = 0
    layout: object = None


@dataclass(frozen=True)
class Reading:
    """A canvas row read back.

    ``fills`` one text per gap of the request, earlier canvases included (a gap not yet reached is empty);
    ``confidence`` 0..1, exp(mean log p) of the tokens that decide the fills, earlier canvases included, calibrated
    where the format must choose between lengths; ``finish_reason`` GAP_END or LENGTH as far as the tokens tell.
    """

    fills: tuple[str, ...]
    confidence: float
    finish_reason: FinishReason


@dataclass(frozen=True)
class Continuation:
    """A text in the only gap as the causal encoder reads it behind the first ``shared`` tokens of the prompt.

    ``token_ids``: the prompt's token at ``shared``; what the prompt holds behind it and the text, spelt as one, since a
    gap may begin inside a token; and ``head`` tokens of what follows the gap.
    """

    shared: int
    token_ids: tuple[int, ...]
    head: int


class Format(Protocol):
    """How a request becomes a prompt and canvas rows for one family of checkpoints, and back."""

    @property
    def noise_range(self) -> tuple[int, int]:
        """Noise is uniform over [low, high) of the vocabulary."""

    @property
    def confidence_floor(self) -> float:
        """The checkpoint's own floor."""

    @property
    def calibration(self) -> Calibration | None:
        """How probable a text that the causal encoder has scored is right; None when nobody has fitted it."""

    @property
    def takes_instructions(self) -> bool:
        """Whether an :class:`EditRequest`'s instruction is understood."""

    @property
    def canvas_lengths(self) -> tuple[int, ...]:
        """The rising canvas lengths that rows are laid out in: few, so that shapes repeat."""

    def prepare(self, request: InfillRequest | EditRequest, expected: str | None = None) -> Prepared:
        """Lay the request's first canvas out: ``request.n`` rows, times the gap lengths that the format tries.

        ``expected`` is text that an earlier answer lets one expect in the only gap: the canvas starts from it
        (``TokenCanvas.warm``). A format without :meth:`continuation` starts rows from the likeliest proposals too.
        Raises EngineError for what does not fit or is not understood.
        """

    def read(self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]) -> Reading:
        """Read final (or draft) token ids of row number ``row``, (C,), and their log p back into text.

        The row may be shorter than the canvas it was prepared as: cropped behind its last decisive position.
        """

    def following(
        self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]
    ) -> Prepared | None:
        """Lay the next canvas out when this row leaves something to fill: a gap longer than a canvas, or a further gap.

        None when it does not. ``truncated_tokens`` counts from the start of the request.
        """

    def continuation(self, prepared: Prepared, text: str) -> Continuation | None:
        """What the causal encoder is to score for ``text`` in the only gap; all of a request share one ``shared``.

        ``prepared`` is the request's first canvas. None for a text that is too long for the gap or a canvas, and for
        any where the prompt does not end with what stands before the only gap.
        """

    def pieces(self, row_ids: Sequence[int]) -> list[str]:
        """The text of each position of a row, for drawing; control tokens as an empty string."""

    def decisive(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Which positions of a draft, (B, C) int64, decide its fills, (B, C) bool: denoising may stop once these are
        settled, whatever pads behind them still do. At least one position per row; always the first ones of a row when
        not all of them. Runs on any device, without synchronising with the host."""
