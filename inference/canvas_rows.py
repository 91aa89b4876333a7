"""The state of canvas rows between two denoising steps, and a row read off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import accumulate
from operator import itemgetter

import torch

from inference.canvas import TokenCanvas
from inference.models.base import Denoiser


class Stopped(StrEnum):
    """Why a row is as it is: settled, or the best there was when steps or time ran out."""

    STABLE = "stable"
    STEPS = "steps"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class Row:
    """Row ``number`` of a canvas read off: ``token_ids`` (C,), the argmax; ``log_probs`` (C,), natural, of those tokens
    at temperature 1 in the row's last forward; ``accepted`` (C,), by that step; None for ``stopped``: on its way."""

    number: int
    token_ids: list[int]
    log_probs: list[float]
    accepted: list[bool]
    stopped: Stopped | None


@dataclass(frozen=True)
class CanvasRows:
    """Tensors of B rows of C positions, all on one device.

    ``given`` (B, C) int64 and ``pinned`` (B, C) bool say what stays; ``canvas`` (B, C) int64 is what the decoder sees
    next, ``conditioning`` (B, C, D) its self-conditioning signal. Of the last step: ``draft`` (B, C) int64, the argmax
    (-1 where there is none yet); ``log_probs`` (B, C) float32, of the draft at temperature 1; ``accepted`` (B, C) bool;
    ``unchanged`` (B, C) int64, for how many steps the draft has stayed what it is.
    """

    given: torch.Tensor
    pinned: torch.Tensor
    canvas: torch.Tensor
    conditioning: torch.Tensor
    draft: torch.Tensor
    log_probs: torch.Tensor
    accepted: torch.Tensor
    unchanged: torch.Tensor

    @classmethod
    def starting(cls, denoiser: Denoiser, canvas: TokenCanvas, noise: torch.Tensor) -> CanvasRows:
        """Rows before their first step: given and warm tokens as they are, and as the draft; ``noise`` elsewhere."""
        given, pinned = canvas.token_ids.to(noise.device), canvas.pinned.to(noise.device)
        known = pinned if canvas.warm is None else pinned | canvas.warm.to(noise.device)
        start = torch.where(known, given, noise)
        return cls(
            given=given,
            pinned=pinned,
            canvas=start,
            # zero at pins too: as in transformers, nothing has been predicted yet
            conditioning=torch.zeros_like(denoiser.embeddings(start)),
            draft=torch.where(known, given, -1),
            log_probs=torch.full_like(start, -torch.inf, dtype=torch.float32),
            accepted=torch.zeros_like(pinned),
            unchanged=torch.zeros_like(start),
        )

    @classmethod
    def joined(cls, parts: Sequence[CanvasRows]) -> CanvasRows:
        """All rows of ``parts``, of one canvas length, in one batch."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def split(self, rows: Sequence[int]) -> list[CanvasRows]:
        """Views of the batch in parts of so many ``rows`` each."""
        if len(rows) == 1:
            return [self]
        ends = list(accumulate(rows))
        return [self._each(itemgetter(slice(end - count, end))) for count, end in zip(rows, ends, strict=True)]

    def only(self, rows: Sequence[int]) -> CanvasRows:
        """Those ``rows``, by their index in the batch."""
        return self._each(lambda tensor: torch.stack([tensor[row] for row in rows]))

    def cropped(self, length: int) -> CanvasRows:
        """The first ``length`` positions of every row."""
        return self._each(lambda tensor: tensor[:, :length])

    def read(self, index: int, number: int, stopped: Stopped | None) -> Row:
        """Read one row off, by its index in the batch; ``number`` and ``stopped`` are for :class:`Row`."""
        draft, log_probs, accepted = self.draft[index], self.log_probs[index], self.accepted[index]
        return Row(number, draft.tolist(), log_probs.tolist(), accepted.tolist(), stopped)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> CanvasRows:
        return CanvasRows(*(change(getattr(self, f.name)) for f in fields(self)))
