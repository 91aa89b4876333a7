"""Edits by instruction: the selection is the canvas to start from, and the model rewrites it in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from inference.canvas import TokenCanvas
from inference.errors import EngineError
from inference.formats.base import Prepared, Reading
from inference.formats.chat_prompt import LONGEST_NAME, ChatPrompt
from inference.formats.context_budget import ContextBudget
from inference.formats.draft_tokens import kept, room_to_rewrite, selection_tokens
from inference.protocol import EditRequest, ErrorCode, FinishReason

MAX_THOUGHT_TOKENS = 2048
"""The longest thought, where the model's context has room for it."""

_OPENING = (
    "Rewrite the selected part of a file. It stands between <selection> and </selection>; what surrounds it stays as "
    "it is. Answer with the text that takes the selection's place and nothing else: no explanation, no code fence.\n"
    "Language: {language}\n<file>\n"
)
_SELECTION = "<selection>"
_SELECTION_END = "</selection>"
_CLOSING = "\n</file>\nWhat to do: {instruction}"
_NO_INSTRUCTION = "correct what is wrong in the selection, and keep the rest of it"


@dataclass(frozen=True)
class EditLayout:
    """An edit under way.

    ``written`` tokens of the answer stand in the prompt, of ``room`` that it may take; ``draft_ids`` are what the
    selection still has to start a canvas from; ``head`` positions of the canvas are pinned before its first free one.
    ``thought`` counts the tokens of the thought so far; None once the model answers.
    """

    request: EditRequest
    draft_ids: tuple[int, ...]
    trailing: str
    room: int
    head: int
    written: tuple[int, ...] = ()
    thought: int | None = None
    log_prob: float = 0.0
    scored: int = 0


@dataclass(frozen=True)
class Edit:
    """Prompt: a user's turn with the file, its selection marked, and the instruction; canvas: the selection, of which a
    share is noise, the end of the turn, ``<eos>`` to the end.

    What follows the room to grow is pinned. A selection longer than a canvas goes on in the next one. With thinking,
    the first canvases hold the thought.
    """

    prompt: ChatPrompt
    canvas_lengths: tuple[int, ...]
    budget: ContextBudget
    max_positions: int

    def prepare(self, request: EditRequest) -> Prepared:
        """``request.n`` rows; see :meth:`Format.prepare`."""
        encode, turns = self.prompt.encode, self.prompt.turns(request.thinking)
        selection = request.selection.rstrip() or request.selection
        draft_ids = selection_tokens(selection, encode)
        room = room_to_rewrite(len(draft_ids))
        opening = [*turns.before, *encode(_OPENING.format(language=request.language_id[:LONGEST_NAME]))]
        instruction = request.instruction or _NO_INSTRUCTION
        closing = [*encode(_CLOSING.format(instruction=instruction)), *turns.behind]
        selected = encode(_SELECTION + request.selection + _SELECTION_END)
        thought = self.max_thought_tokens if request.thinking else 0
        left = self.max_positions - len(opening) - len(closing) - len(selected) - room - thought
        left -= self.canvas_lengths[-1]
        if left < 8:
            raise EngineError(
                f"the selection and its instruction have {len(selected) + len(closing)} tokens, too many for a model "
                f"that reads {self.max_positions}; select less, or edit it in parts",
                ErrorCode.TOO_LARGE,
            )
        context = ContextBudget(min(left, self.budget.tokens)).fit(request.prefix, request.suffix, encode)
        layout = EditLayout(
            request=request,
            draft_ids=tuple(draft_ids),
            trailing=request.selection[len(selection) :],
            room=room,
            head=0,
            thought=0 if request.thinking else None,
        )
        prompt_ids = [*opening, *context.prefix_ids, *selected, *context.suffix_ids, *closing]
        pinned = self.prompt.thought_opening if request.thinking else self.prompt.no_thought
        return self._canvas(layout, prompt_ids, pinned, request.n, context.truncated_tokens)

    @property
    def max_thought_tokens(self) -> int:
        """A thought longer than this is closed for the model."""
        return min(MAX_THOUGHT_TOKENS, self.max_positions // 4)

    def read(self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]) -> Reading:
        """Read the selection's new text; the white space at its end is the selection's own. See :meth:`Format.read`.

        As long as the model thinks, that is the selection as it is.
        """
        layout = _layout_of(prepared)
        if layout.thought is not None:
            return Reading((layout.request.selection,), 0.0, FinishReason.LENGTH)
        at, stopped = self._written(layout, row_ids)
        layout = _answered(layout, row_ids, log_probs, at, stopped)
        confidence = min(1.0, math.exp(layout.log_prob / layout.scored)) if layout.scored else 0.0
        finish_reason = FinishReason.GAP_END if stopped else FinishReason.LENGTH
        return Reading((self.prompt.text(layout.written) + layout.trailing,), confidence, finish_reason)

    def following(
        self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]
    ) -> Prepared | None:
        """Go on with a thought, with the answer behind it, or with an answer that is longer than its canvas."""
        layout = _layout_of(prepared)
        if layout.thought is not None:
            return self._behind_thought(prepared, layout, row_ids)
        at, stopped = self._written(layout, row_ids)
        if stopped or at < len(row_ids) or len(layout.written) + at - layout.head >= layout.room:
            return None
        further = _answered(layout, row_ids, log_probs, at, stopped)
        further = replace(further, draft_ids=layout.draft_ids[at - layout.head :])
        return self._canvas(further, [*prepared.prompt_ids, *row_ids], (), 1, prepared.truncated_tokens)

    def _behind_thought(self, prepared: Prepared, layout: EditLayout, row_ids: Sequence[int]) -> Prepared | None:
        assert layout.thought is not None
        at = next((index for index, token in enumerate(row_ids[layout.head :], layout.head) if self._ends(token)), None)
        thought = layout.thought + len(row_ids) - layout.head
        if at is None and thought < self.max_thought_tokens:
            further = replace(layout, thought=thought)
            return self._canvas(further, [*prepared.prompt_ids, *row_ids], (), 1, prepared.truncated_tokens)
        prompt_ids = [*prepared.prompt_ids, *row_ids[:at], self.prompt.thought_end]
        return self._canvas(replace(layout, thought=None), prompt_ids, (), 1, prepared.truncated_tokens)

    def _ends(self, token: int) -> bool:
        return token in (self.prompt.thought_end, self.prompt.turn_end, self.prompt.eos)

    def _canvas(
        self, layout: EditLayout, prompt_ids: list[int], head: Sequence[int], rows: int, truncated_tokens: int
    ) -> Prepared:
        """``head`` pinned, then free tokens as far as the answer may grow, then the pinned end of the turn."""
        longest = self.canvas_lengths[-1]
        thinks = layout.thought is not None
        free = longest if thinks else layout.room - len(layout.written)
        used = min(len(head) + free + (not thinks), longest)  # one more, for the end of the turn
        size = next(length for length in self.canvas_lengths if length >= used)
        end = min(len(head) + free, size)

        draft_ids = [] if thinks else [*layout.draft_ids[: end - len(head)]]
        rest = size - len(head) - len(draft_ids)
        ending = [self.prompt.turn_end, *[self.prompt.eos] * rest][:rest]
        token_ids = torch.tensor([[*head, *draft_ids, *ending]] * rows, dtype=torch.int64)
        pinned = torch.zeros_like(token_ids, dtype=torch.bool)
        pinned[:, : len(head)] = True
        if end < size:
            token_ids[:, end:] = torch.tensor([self.prompt.turn_end, *[self.prompt.eos] * (size - end - 1)])
            pinned[:, end:] = True

        warm = torch.zeros_like(pinned)
        if not thinks and (draft_ids or not layout.written):
            strengths, seed = [layout.request.strength] * rows, layout.request.seed
            at = len(head) + len(draft_ids)
            warm[:, len(head) : at] = kept(strengths, len(draft_ids), seed)
            warm[:, at:end] = kept(strengths, end - at, seed)
        layout = replace(layout, head=len(head))
        return Prepared(prompt_ids, TokenCanvas(token_ids, pinned, warm), truncated_tokens, layout)

    def _written(self, layout: EditLayout, row_ids: Sequence[int]) -> tuple[int, bool]:
        """Where the answer ends on this canvas, and whether the model ended it."""
        limit = min(len(row_ids), layout.head + layout.room - len(layout.written))
        for at in range(layout.head, limit):
            if row_ids[at] in self.prompt.controls:
                return at, row_ids[at] in (self.prompt.turn_end, self.prompt.eos)
        return limit, False


def _answered(
    layout: EditLayout, row_ids: Sequence[int], log_probs: Sequence[float], at: int, stopped: bool
) -> EditLayout:
    """The layout with what this canvas adds to the answer."""
    scores = log_probs[layout.head : at + stopped]
    return replace(
        layout,
        written=(*layout.written, *row_ids[layout.head : at]),
        log_prob=layout.log_prob + math.fsum(scores),
        scored=layout.scored + len(scores),
    )


def _layout_of(prepared: Prepared) -> EditLayout:
    assert isinstance(prepared.layout, EditLayout)
    return prepared.layout
