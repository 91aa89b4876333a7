"""The format of checkpoints trained to fill a gap: suffix and prefix in the prompt, the gap on the canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import torch
from tokenizers import Tokenizer

from inference.canvas import TokenCanvas
from inference.errors import EngineError
from inference.formats.base import Continuation, Prepared, Reading
from inference.formats.calibration import Calibration
from inference.formats.context_budget import Context, ContextBudget
from inference.formats.draft_tokens import kept, room_to_rewrite, selection_tokens
from inference.formats.filled import Filled
from inference.formats.infill_spec import InfillSpec
from inference.formats.token_bytes import TokenBytes
from inference.protocol import EditRequest, ErrorCode, Fixed, InfillRequest, Masked

_TAIL_TOKENS = 4
"""Tokens of the prefix that are spelt anew together with a text that may follow them."""

_HEAD_TOKENS, _HEAD_CHARACTERS = 3, 64
"""Tokens behind the gap that say whether a text ends where it should."""

_WITHIN_CHARACTER = frozenset(bytes([byte]) for byte in range(0x80, 0xC0))
"""First bytes of a token that goes on with a character."""


@dataclass(frozen=True)
class FimFormat:
    """Prompt: language, suffix, prefix; canvas: gap, gap end, pads.

    A gap longer than a canvas goes on in the next one; several gaps are filled one after the other, each reading what
    was filled before it.
    """

    spec: InfillSpec
    tokenizer: Tokenizer
    token_bytes: TokenBytes

    @classmethod
    def load(cls, folder: Path) -> FimFormat:
        """Read ``infill.json`` and the byte-level ``tokenizer.json``. Raises ValueError, which names the file."""
        spec = InfillSpec.load(folder)
        path = folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exceptions
            raise ValueError(f"{path}: cannot be read ({error})") from error
        tokenizer.encode_special_tokens = True  # text that spells a control token is data
        size = tokenizer.get_vocab_size()
        highest = max(spec.bos, spec.suffix, spec.prefix, spec.gap_end, spec.gap_more, *spec.pads, spec.noise_high - 1)
        if highest >= size:
            raise ValueError(f"{path}: has {size} tokens, but infill.json names token {highest}")
        try:
            token_bytes = TokenBytes.read(tokenizer, [*range(spec.noise_low), *range(spec.noise_high, size)])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return cls(spec, tokenizer, token_bytes)

    @property
    def noise_range(self) -> tuple[int, int]:
        """Text tokens only: a control token is never noise."""
        return self.spec.noise_low, self.spec.noise_high

    @property
    def confidence_floor(self) -> float:
        """As ``infill.json`` has it."""
        return self.spec.confidence_floor

    @property
    def calibration(self) -> Calibration | None:
        """As ``infill.json`` has it."""
        return self.spec.calibration

    @property
    def takes_instructions(self) -> bool:
        """Never: such a checkpoint has seen text with gaps, and no instructions."""
        return False

    @property
    def canvas_lengths(self) -> tuple[int, ...]:
        """As ``infill.json`` has them."""
        return self.spec.canvas_buckets

    def prepare(self, request: InfillRequest | EditRequest, expected: str | None = None) -> Prepared:
        """Lay out the first gap, or an edit's selection; see :meth:`Format.prepare`.

        Only the first row starts from ``expected``: the others look for something else.
        """
        if isinstance(request, EditRequest):
            return self._prepare_edit(request)
        filled, draft = Filled.nothing_of(request), None
        if expected is not None and len(filled.gaps) == 1:
            draft = _Draft(tuple(self._encode(expected)), (0.0, *[1.0] * (request.n - 1)), request.seed)
        return self._at_gap(filled, draft, rows=request.n)

    def read(self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]) -> Reading:
        """Read the gaps' text; a character cut in the middle at a gap's end is dropped. See :meth:`Format.read`."""
        return self._filled(_layout_of(prepared), row_ids, log_probs).reading(self.token_bytes.text)

    def following(
        self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]
    ) -> Prepared | None:
        """Go on with a gap that is longer than its canvas, or with the next gap; one row. See :meth:`Format.following`.

        The prompt of a gap that goes on is the old one and what was filled, so the prefix cache holds all but that.
        """
        layout = _layout_of(prepared)
        filled = self._filled(layout, row_ids, log_probs)
        if not filled.ended:
            return self._continued(prepared, row, layout, filled)
        if filled.is_whole:
            return None
        return self._at_gap(filled.at_next_gap(), None, rows=1, truncated_tokens=prepared.truncated_tokens)

    def continuation(self, prepared: Prepared, text: str) -> Continuation | None:
        """See :meth:`Format.continuation`."""
        layout = _layout_of(prepared)
        filled, prefix_ids = layout.filled, layout.context.prefix_ids
        if len(filled.gaps) > 1 or len(self._encode(text)) > min(filled.tokens_left, self.canvas_lengths[-1]):
            return None
        tail = self._tail(prefix_ids)
        shared = len(prepared.prompt_ids) - len(tail) - 1
        written = self.token_bytes.text(tail) + text
        token_ids = self._encode(written + filled.behind()[:_HEAD_CHARACTERS])
        starts = accumulate((len(self.token_bytes.of[token]) for token in token_ids), initial=0)
        size = len(written.encode())
        count = sum(start < size for start in starts)
        kept = token_ids[: count + _HEAD_TOKENS]
        return Continuation(shared, (prepared.prompt_ids[shared], *kept), len(kept) - count)

    def pieces(self, row_ids: Sequence[int]) -> list[str]:
        """The text of each position; a character of several tokens stands where it is complete."""
        return self.token_bytes.pieces(row_ids)

    def decisive(self, token_ids: torch.Tensor) -> torch.Tensor:
        """The positions (B, C) bool that decide the fill: all up to the first control token. See :class:`Format`."""
        control = (token_ids < self.spec.noise_low) | (token_ids >= self.spec.noise_high)
        return control.cumsum(dim=-1) - control.long() == 0

    def _prepare_edit(self, request: EditRequest) -> Prepared:
        """The selection is what the gap starts from."""
        if request.instruction or request.thinking:
            raise EngineError(
                "the loaded checkpoint fills gaps and follows no instructions; send the edit without 'instruction' and "
                "'thinking', or load an instruction-tuned model",
                ErrorCode.BAD_REQUEST,
            )
        selection_ids = selection_tokens(request.selection, self._encode)
        gap = Masked(room_to_rewrite(len(selection_ids)))
        segments = (Fixed(request.prefix), gap, Fixed(request.suffix))
        draft = _Draft(tuple(selection_ids), (request.strength,) * request.n, request.seed)
        return self._at_gap(Filled(request.language_id, segments), draft, rows=request.n)

    def _at_gap(self, filled: Filled, draft: _Draft | None, rows: int, truncated_tokens: int = 0) -> Prepared:
        """The first canvas of the last gap in ``filled``."""
        context = self._budget.fit(filled.before(self.token_bytes.text), filled.behind(), self._encode)
        # of a document that is cut for every gap, the most that was out of sight at once
        truncated_tokens = max(truncated_tokens, context.truncated_tokens)
        return self._prepared(_Layout(filled, context, draft), rows, truncated_tokens)

    def _continued(self, prepared: Prepared, row: int, layout: _Layout, filled: Filled) -> Prepared:
        """The next canvas of the same gap."""
        on_canvas = filled.fills[-1][len(layout.filled.fills[-1]) :]
        context = self._budget.share([*layout.context.prefix_ids, *on_canvas], layout.context.suffix_ids)
        draft = layout.draft and layout.draft.behind(prepared.canvas.shape[1] - 1, row)
        truncated_tokens = prepared.truncated_tokens + context.truncated_tokens
        return self._prepared(_Layout(filled, context, draft), 1, truncated_tokens)

    def _prepared(self, layout: _Layout, rows: int, truncated_tokens: int) -> Prepared:
        filled, draft = layout.filled, layout.draft
        wanted = max(filled.tokens_left, len(draft.token_ids) if draft else 0) + 1  # one more, for the gap end
        length = next((bucket for bucket in self.canvas_lengths if bucket >= wanted), self.canvas_lengths[-1])
        token_ids, warm = torch.zeros(rows, length, dtype=torch.int64), None
        if draft is not None:
            token_ids[:] = torch.tensor(self.spec.canvas(draft.token_ids, length))
            warm = draft.kept(length)
        return Prepared(
            prompt_ids=self.spec.prompt(filled.language_id, layout.context.prefix_ids, layout.context.suffix_ids),
            canvas=TokenCanvas(token_ids, pinned=torch.zeros_like(token_ids, dtype=torch.bool), warm=warm),
            truncated_tokens=truncated_tokens,
            layout=layout,
        )

    def _filled(self, layout: _Layout, row_ids: Sequence[int], log_probs: Sequence[float]) -> Filled:
        """What is filled when this canvas ends as ``row_ids``."""
        before = layout.filled
        gap_ids, closed = self.spec.gap(row_ids)
        if len(gap_ids) > before.tokens_left:
            gap_ids, closed = gap_ids[: before.tokens_left], False
        at = len(gap_ids)
        goes_on = (
            not closed and 0 < at < before.tokens_left and (at == len(row_ids) or row_ids[at] == self.spec.gap_more)
        )
        scored = at + closed
        return replace(
            before,
            fills=(*before.fills[:-1], (*before.fills[-1], *gap_ids)),
            log_prob=before.log_prob + math.fsum(log_probs[:scored]),
            scored=before.scored + scored,
            cut=before.cut or not (closed or goes_on),
            ended=not goes_on,
        )

    def _tail(self, prefix_ids: Sequence[int]) -> Sequence[int]:
        """The last tokens of a prefix, as many as begin with a whole character."""
        for first in range(max(0, len(prefix_ids) - _TAIL_TOKENS), len(prefix_ids)):
            tail = prefix_ids[first:]
            if self.token_bytes.of[tail[0]][:1] not in _WITHIN_CHARACTER:
                return tail
        return []

    @property
    def _budget(self) -> ContextBudget:
        return ContextBudget(self.spec.max_prompt_tokens - len(self.spec.prompt("", [], [])))

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


@dataclass(frozen=True)
class _Draft:
    """Tokens that the canvas starts from: row b leaves a share of ``strengths[b]`` of them as noise."""

    token_ids: tuple[int, ...]
    strengths: tuple[float, ...]
    seed: int | None

    def kept(self, length: int) -> torch.Tensor:
        """Which positions of the canvas start from the draft, (B, C) bool: of gap and tail the same share."""
        gap = min(len(self.token_ids), length - 1)
        return torch.cat([kept(self.strengths, part, self.seed) for part in (gap, length - gap)], dim=-1)

    def behind(self, count: int, row: int) -> _Draft | None:
        """What is left for the next canvas of one row."""
        rest = self.token_ids[count:]
        return _Draft(rest, self.strengths[row : row + 1], self.seed) if rest else None


@dataclass(frozen=True)
class _Layout:
    """What is filled before this canvas, what the prompt holds, and what the canvas starts from."""

    filled: Filled
    context: Context
    draft: _Draft | None


def _layout_of(prepared: Prepared) -> _Layout:
    assert isinstance(prepared.layout, _Layout)
    return prepared.layout
