"""Gaps for checkpoints that never learned to fill one: noise between given tokens, several lengths side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from inference.canvas import TokenCanvas
from inference.formats.base import Prepared, Reading
from inference.formats.chat_prompt import LONGEST_NAME, ChatPrompt
from inference.formats.context_budget import Context, ContextBudget
from inference.formats.filled import Filled
from inference.formats.gap_length import ladder
from inference.protocol import InfillRequest

SUFFIX_HEAD = 32
"""Tokens of the suffix that are pinned behind the gap."""

_CHARACTERS = 16 * SUFFIX_HEAD
"""Enough to hold the head of any suffix."""

_WARM_PROPOSALS = 2
"""Rows that start from proposals, at most."""

_OPENING = (
    "Fill the gap in a file. Between <suffix> and </suffix> stands what follows the gap, between <prefix> and "
    "</prefix> what precedes it, up to where your answer takes over. Go on from there: write what is missing in the "
    "gap, then the first words of the suffix, and stop. Write file content only: no explanation, no code fence.\n"
    "Language: {language}\n<suffix>\n"
)
_BETWEEN = "\n</suffix>\n<prefix>\n"
_CLOSING = "\n</prefix>"


@dataclass(frozen=True)
class GapRow:
    """One canvas row: ``spans`` of the gaps on it, [start, end), and the ``length`` that it tries.

    ``pinned_tail``: the suffix is pinned behind the gap; else the gap is longer than the canvas, or ends where the
    suffix turns up.
    """

    length: int
    spans: tuple[tuple[int, int], ...]
    pinned_tail: bool = True


@dataclass(frozen=True)
class ClampedLayout:
    """What is filled before this canvas, the context that the prompt shows, and the canvas rows."""

    filled: Filled
    context: Context
    rows: tuple[GapRow, ...]


@dataclass(frozen=True)
class Clamped:
    """Prompt: a user's turn with suffix and prefix, the model's turn opened with the prefix's end; canvas: the gap's
    noise, the suffix's head, the end of the turn, ``<eos>`` to the end.

    Nothing says how long the gap is: a ladder of lengths rides as rows of one batch and ``confidence``, of mean log p
    and length, compares them. Several gaps that fit stand on one canvas, the text between them pinned. What lies far is
    first in the prompt, the typed end last, and the border between the turns moves in blocks: so typing only appends.
    """

    prompt: ChatPrompt
    canvas_lengths: tuple[int, ...]
    budget: ContextBudget
    confidence: Callable[[float, int], float]

    def prepare(self, request: InfillRequest, expected: str | None = None) -> Prepared:
        """All lengths for each of ``request.n`` candidates; a gap whose text is expected tries few. See
        :meth:`Format.prepare`."""
        filled = Filled.nothing_of(request)
        longest = min(filled.tokens_left, self.capacity)
        texts = [expected, *(proposal.text for proposal in request.proposals[:_WARM_PROPOSALS])]
        drafts = [self.prompt.encode(text) if text and len(filled.gaps) == 1 else [] for text in texts]
        near = _neighbours(len(drafts[0]), longest) if 0 < len(drafts[0]) <= longest else None
        proposed = [ids for ids in drafts[1:] if 0 < len(ids) <= longest and ids != drafts[0]]
        warm_ids = [*([drafts[0]] if near else []), *proposed]
        prepared = self.lay_out(filled, request.n, lengths=near, further=list(map(len, proposed)))
        return _warmed(prepared, warm_ids) if warm_ids else prepared

    @property
    def capacity(self) -> int:
        """The longest gap that the longest canvas holds together with its suffix."""
        return self.canvas_lengths[-1] - self._head_length - 1  # one for the end of the turn

    @property
    def frame_tokens(self) -> int:
        """Tokens of a prompt that shows no context."""
        return len(self._prompt_ids("x" * LONGEST_NAME, Context([], [], 0)))

    def lay_out(
        self,
        filled: Filled,
        candidates: int,
        lengths: Sequence[int] | None = None,
        truncated_tokens: int = 0,
        further: Sequence[int] = (),
    ) -> Prepared:
        """The first canvas of the gap at hand, and of those behind it that fit; by default all ``lengths`` that may be,
        and ``further`` rows of these lengths.

        Rows are all lengths of the first candidate, then all of the second.
        """
        gaps = self._gaps_on_canvas(filled)
        context = self.budget.fit(filled.before(self.prompt.text), filled.behind(gaps), self.prompt.encode)
        prompt_ids = self._prompt_ids(filled.language_id, context)
        truncated_tokens = max(truncated_tokens, context.truncated_tokens)
        # several candidates share the width of a batch: fewer lengths for each
        rows, canvas = self._canvas(filled, gaps, lengths, further, sparse=candidates > 1)
        return _prepared(ClampedLayout(filled, context, rows), prompt_ids, canvas, candidates, truncated_tokens)

    def read(self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]) -> Reading:
        """Read the gaps' text between the pins; see :meth:`Format.read`.

        Confidence is the geometric mean over canvases, so that the rows of one canvas keep their order.
        """
        return self._filled(_layout_of(prepared), row, row_ids, log_probs).reading(self.prompt.text)

    def following(
        self, prepared: Prepared, row: int, row_ids: Sequence[int], log_probs: Sequence[float]
    ) -> Prepared | None:
        """Go on with a gap that is longer than its canvas, or with the gaps that did not fit; all lengths again."""
        layout = _layout_of(prepared)
        filled = self._filled(layout, row, row_ids, log_probs)
        if filled.is_whole:
            return None
        if filled.ended:
            return self.lay_out(filled.at_next_gap(), 1, truncated_tokens=prepared.truncated_tokens)
        on_canvas = filled.fills[-1][len(layout.filled.fills[-1]) :]
        context = self.budget.share([*layout.context.prefix_ids, *on_canvas], layout.context.suffix_ids)
        whole = not context.truncated_tokens
        prompt_ids = [*prepared.prompt_ids, *on_canvas] if whole else self._prompt_ids(filled.language_id, context)
        truncated_tokens = prepared.truncated_tokens + context.truncated_tokens
        rows, canvas = self._canvas(filled, gaps=1)
        return _prepared(ClampedLayout(filled, context, rows), prompt_ids, canvas, 1, truncated_tokens)

    @property
    def _head_length(self) -> int:
        return min(SUFFIX_HEAD, self.canvas_lengths[-1] // 4)

    def _pins(self, filled: Filled, gaps: int) -> list[list[int]]:
        """The token ids behind each of the next ``gaps`` gaps: the whole text between two, the head of the last."""
        at = len(filled.fills)
        *between, last = filled.fixed[at : at + gaps]
        return [*map(self.prompt.encode, between), self.prompt.encode(last[:_CHARACTERS])[: self._head_length]]

    def _gaps_on_canvas(self, filled: Filled) -> int:
        """How many gaps from the one at hand on fit together, each at its longest; at least one."""
        gaps, longest = 1, filled.tokens_left
        fixed = filled.fixed
        for further in range(len(filled.fills), len(filled.gaps)):
            if len(fixed[further]) > _CHARACTERS * self.canvas_lengths[-1]:
                break
            longest += len(self.prompt.encode(fixed[further])) + filled.gaps[further].max_tokens
            if longest > self.capacity:
                break
            gaps += 1
        return gaps

    def _canvas(
        self,
        filled: Filled,
        gaps: int,
        lengths: Sequence[int] | None = None,
        further: Sequence[int] = (),
        *,
        sparse: bool = False,
    ) -> tuple[tuple[GapRow, ...], TokenCanvas]:
        """One row per length for the next ``gaps`` gaps, and one without a tail where a gap may outgrow the canvas."""
        pins = self._pins(filled, gaps)
        at = len(filled.fills)
        most = [filled.tokens_left, *(gap.max_tokens for gap in filled.gaps[at : at + gaps - 1])]
        tried = [*(lengths or ladder(min(max(most), self.capacity), sparse=sparse)), *further]
        rows = [GapRow(length, _spans([min(length, limit) for limit in most], pins)) for length in tried]
        used = max(row.spans[-1][1] for row in rows) + len(pins[-1]) + 1
        if lengths is None and most[0] > self.capacity:
            used = self.canvas_lengths[-1]
            rows.append(GapRow(used, ((0, used),), pinned_tail=False))
        size = next(length for length in self.canvas_lengths if length >= used)

        token_ids = torch.full((len(rows), size), self.prompt.eos, dtype=torch.int64)
        pinned = torch.ones_like(token_ids, dtype=torch.bool)
        for index, row in enumerate(rows):
            for (start, end), pin in zip(row.spans, pins, strict=False):
                pinned[index, start:end] = False
                if row.pinned_tail:
                    token_ids[index, end : end + len(pin)] = torch.tensor(pin, dtype=torch.int64)
            if row.pinned_tail:
                token_ids[index, row.spans[-1][1] + len(pins[-1])] = self.prompt.turn_end
        return tuple(rows), TokenCanvas(token_ids, pinned)

    def _prompt_ids(self, language_id: str, context: Context) -> list[int]:
        """User's turn: suffix, prefix up to the border; model's turn: the rest of the prefix."""
        encode, turns, border = self.prompt.encode, self.prompt.quiet, self._border(context.prefix_ids)
        return [
            *turns.before,
            *encode(_OPENING.format(language=language_id[:LONGEST_NAME])),
            *context.suffix_ids,
            *encode(_BETWEEN),
            *context.prefix_ids[:border],
            *encode(_CLOSING),
            *turns.behind,
            *self.prompt.no_thought,  # had the model opened its turn itself, it would stand here
            *context.prefix_ids[border:],
        ]

    def _border(self, prefix_ids: Sequence[int]) -> int:
        """Where the model's turn takes over: at a line's start if one is near, and the same while a block is typed."""
        step = max(1, self.budget.block // 4)
        at = max(0, len(prefix_ids) - step) // step * step
        for start in range(at, max(0, at - step), -1):
            if b"\n" in self.prompt.token_bytes.of[prefix_ids[start - 1]]:
                return start
        return at if at > step else 0

    def _filled(self, layout: ClampedLayout, row: int, row_ids: Sequence[int], log_probs: Sequence[float]) -> Filled:
        """What is filled when this canvas ends as ``row_ids``."""
        gap_row, before = layout.rows[row], layout.filled
        spans, ended, cut = gap_row.spans, True, False
        if not gap_row.pinned_tail:
            end, ended, closed = self._open_end(before, row_ids)
            spans, cut = ((0, end),), ended and not closed
        texts = [self._without_controls(row_ids[start:end]) for start, end in spans]
        scores = [log_prob for start, end in spans for log_prob in log_probs[start:end]]
        confidence = self.confidence(math.fsum(scores) / len(scores), gap_row.length) if scores else 0.0
        return replace(
            before,
            fills=(*before.fills[:-1], (*before.fills[-1], *texts[0]), *texts[1:]),
            log_prob=before.log_prob + math.log(max(confidence, 1e-300)),
            scored=before.scored + 1,
            cut=before.cut or cut,
            ended=ended,
        )

    def _open_end(self, before: Filled, row_ids: Sequence[int]) -> tuple[int, bool, bool]:
        """How many tokens of a row without a pinned tail are the gap's, whether it ends there, and closed itself."""
        written = next((at for at, token in enumerate(row_ids) if token in self.prompt.controls), len(row_ids))
        head = self.prompt.text(self._pins(before, 1)[-1])
        found = self.prompt.text(row_ids[:written]).find(head) if head.strip() else -1
        if found >= 0:
            lengths = accumulate(map(len, self.prompt.token_bytes.pieces(row_ids[:written])), initial=0)
            at = max(index for index, length in enumerate(lengths) if length <= found)
        else:
            at = written
        if at > before.tokens_left:
            return before.tokens_left, True, False
        stopped = found >= 0 or (written < len(row_ids) and row_ids[written] in (self.prompt.turn_end, self.prompt.eos))
        return at, stopped or at == before.tokens_left or at < len(row_ids), stopped

    def _without_controls(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        return tuple(token for token in token_ids if token not in self.prompt.controls)


def _spans(lengths: Sequence[int], pins: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """Where gaps of these ``lengths`` lie when ``pins`` stand behind them."""
    starts = accumulate((length + len(pin) for length, pin in zip(lengths, pins, strict=True)), initial=0)
    return tuple((start, start + length) for start, length in zip(starts, lengths, strict=False))


def _neighbours(length: int, longest: int) -> list[int]:
    """``length`` and the next shorter and longer one to try."""
    shorter = [other for other in ladder(longest) if other < length][-1:]
    longer = [other for other in ladder(longest) if other > length][:1]
    return [*shorter, length, *longer]


def _prepared(
    layout: ClampedLayout, prompt_ids: list[int], canvas: TokenCanvas, candidates: int, truncated_tokens: int
) -> Prepared:
    """The same rows for every candidate."""
    repeated = TokenCanvas(canvas.token_ids.repeat(candidates, 1), canvas.pinned.repeat(candidates, 1))
    return Prepared(prompt_ids, repeated, truncated_tokens, replace(layout, rows=layout.rows * candidates))


def _warmed(prepared: Prepared, drafts: Sequence[Sequence[int]]) -> Prepared:
    """The same with a row of each draft's length starting from it, in the first candidate only: the others look for
    something else."""
    token_ids, warm = prepared.canvas.token_ids.clone(), torch.zeros_like(prepared.canvas.pinned)
    lengths = {number: row.length for number, row in enumerate(_layout_of(prepared).rows) if row.pinned_tail}
    for draft in drafts:
        at = next(number for number, length in lengths.items() if length == len(draft))
        del lengths[at]
        token_ids[at, : len(draft)] = torch.tensor(draft)
        warm[at, : len(draft)] = True
    return replace(prepared, canvas=replace(prepared.canvas, token_ids=token_ids, warm=warm))


def _layout_of(prepared: Prepared) -> ClampedLayout:
    assert isinstance(prepared.layout, ClampedLayout)
    return prepared.layout
