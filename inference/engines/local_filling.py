"""One request under way in the local engine: its prompt, its canvas, and what earlier canvases have given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch

from inference.canvas_rows import Row, Stopped
from inference.checkpoint import Checkpoint
from inference.denoising import Denoising
from inference.engines.base import EngineError
from inference.engines.spent import Spent
from inference.formats.base import Prepared, Reading
from inference.judging import Judging
from inference.models.base import PromptCache
from inference.protocol import (
    Choice,
    Draft,
    DraftToken,
    EditRequest,
    Fill,
    FinishReason,
    InfillRequest,
    InfillResult,
    Masked,
)

_OUT_OF = {Stopped.STEPS: FinishReason.STEPS, Stopped.DEADLINE: FinishReason.DEADLINE}


class LocalFilling:
    """A request taken on at ``began``, laid out as ``prepared``; see :class:`~inference.engines.base.Filling`.

    Its prompt is encoded piece by piece (``encoded_ids`` so far, in ``prompt``); then ``denoising`` goes on until the
    canvas has settled; then the format may lay out another canvas. Where the checkpoint is calibrated, the request's
    proposals are judged before the first canvas, which is left out when one of them is sure enough, and the fills after
    the last one: whatever ``judging`` has waiting is scored behind ``judged_prompt``, the request's first.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        request: InfillRequest | EditRequest,
        prepared: Prepared,
        *,
        deadline: float | None,
        on_draft: Callable[[Draft], None] | None,
        began: float,
    ) -> None:
        self.request = request
        self.outcome: InfillResult | EngineError | None = None
        self.encoded_ids: list[int] = []
        self.prompt: PromptCache | None = None
        self.denoising: Denoising | None = None
        self.judging = Judging.of(checkpoint.format, prepared, request)
        self.judged_prompt: PromptCache | None = None
        self._checkpoint, self._deadline, self._on_draft, self._began = checkpoint, deadline, on_draft, began
        steps = request.max_denoising_steps or checkpoint.settings.max_denoising_steps
        self._settings = replace(checkpoint.settings, max_denoising_steps=steps)
        self._generator = torch.Generator(checkpoint.denoiser.device)
        self._generator.manual_seed(self._generator.seed() if request.seed is None else request.seed)
        self._complete: list[Choice] = []  # rows of earlier canvases that leave nothing to fill
        self._so_far: list[Choice] = []  # all rows of the canvas before
        self._filled: list[Choice] | None = None  # all that the canvases have given, once they are through
        self._canvases = 0
        self.spent = Spent(prompt_tokens=len(prepared.prompt_ids), encode_s=time.monotonic() - began)
        self.lay_out(prepared)

    def lay_out(self, prepared: Prepared) -> None:
        """Go on with this canvas; what is encoded already stays to be reused."""
        self.prepared, self.denoising = prepared, None
        rows, length = prepared.canvas.shape
        self.spent.canvas_tokens += rows * length
        if not self._canvases:
            self.spent.warm_tokens = 0 if prepared.canvas.warm is None else int(prepared.canvas.warm.sum())
        self._canvases += 1

    def encoded(self, prompt: PromptCache, length: int, fresh: int, seconds: float) -> None:
        """Take over the first ``length`` tokens of the prompt, ``fresh`` ones of them encoded just now."""
        self.prompt, self.encoded_ids = prompt, self.prepared.prompt_ids[:length]
        self.spent.encode_s += seconds
        if self._canvases == 1:
            self.spent.encoded_tokens += fresh
        if length == len(self.prepared.prompt_ids):
            if self._canvases == 1:
                self.judged_prompt = prompt
            if not self.to_judge:
                self.start_denoising()
        elif self._late:
            if self._so_far:
                self._end(map(_due, self._so_far))
            else:
                self._conclude([self._nothing_yet()])

    @property
    def to_judge(self) -> bool:
        """Whether texts are to be scored next; their prompt is encoded."""
        return self.judging is not None and self.judged_prompt is not None and not self.judging.done

    def judged(self, scored: Sequence[Sequence[float]], seconds: float) -> None:
        """Take the log p of what was first to judge. Raises :class:`ModelBroken` for no number."""
        assert self.judging is not None
        self.judging.take(scored)
        self.spent.denoise_s += seconds
        if self.to_judge:
            return
        if self._filled is not None:
            self._conclude(self._verdicts(self._filled))
            return
        proposals = self._verdicts([])
        if self._late:
            self._conclude(map(_due, proposals))
        elif self.request.n == 1 and proposals[0].confidence >= self.judging.floor:
            self.spent.canvas_tokens = self.spent.warm_tokens = 0
            self._conclude(proposals)
        else:
            self.start_denoising()

    def start_denoising(self) -> None:
        """Start the canvas behind the prompt, which is encoded."""
        checkpoint = self._checkpoint
        self.denoising = Denoising(
            checkpoint.denoiser,
            self.prompt,
            self.prepared.canvas,
            self._settings,
            noise=checkpoint.format.noise_range,
            generator=self._generator,
            decisive=checkpoint.format.decisive,
            canvas_lengths=checkpoint.format.canvas_lengths,
        )

    def stepped(self, seconds: float) -> None:
        """Look at the canvas after a step: show it, and when it has settled or time is up, read it."""
        assert self.denoising is not None
        self.spent.steps += 1
        self.spent.denoise_s += seconds
        self._show(self.denoising)
        if self.denoising.over:
            self._settle(self.denoising.read(Stopped.STEPS))
        elif self.denoising.too_late(self._denoising_deadline):
            choices = self._choices(self.denoising.read(Stopped.DEADLINE))
            self._end([*choices, *map(_due, self._so_far)])

    def ease(self) -> bool:
        """Ask for less memory: every other row of this canvas, else a shorter gap; False when neither is possible."""
        if self.denoising is not None and len(self.denoising.live) > 1:
            # every other one: rows of several gap lengths lie in order
            self.denoising.keep(range(0, len(self.denoising.live), 2))
            return True
        shorter = self._shorter() if self._canvases == 1 else None
        if shorter is None:
            return False
        self.spent.canvas_tokens, self._canvases = 0, 0
        self.lay_out(shorter)
        self.start_denoising()
        return True

    def end_with(self, error: EngineError) -> None:
        """The request fails, or nobody waits for it any more; free what it holds."""
        self.outcome = error
        self._free()

    def _settle(self, rows: Sequence[Row]) -> None:
        """Go on with another canvas if the best row leaves something to fill, else end."""
        choices = self._choices(rows)
        best = max(range(len(choices)), key=lambda index: choices[index].confidence)
        following = self._following(rows[best])
        if following is None:
            self._end(choices)
            return
        others = [(row, choice) for row, choice in zip(rows, choices, strict=True) if row is not rows[best]]
        self._complete += [choice for row, choice in others if self._following(row) is None]
        self._so_far = choices
        self.lay_out(following)

    def _following(self, row: Row) -> Prepared | None:
        return self._checkpoint.format.following(self.prepared, row.number, row.token_ids, row.log_probs)

    def _reading(self, row: Row) -> Reading:
        return self._checkpoint.format.read(self.prepared, row.number, row.token_ids, row.log_probs)

    def _choices(self, rows: Iterable[Row]) -> list[Choice]:
        readings = [(self._reading(row), row.stopped) for row in rows]
        return [
            Choice(
                tuple(map(Fill, reading.fills)),
                min(1.0, reading.confidence),
                reading.finish_reason if stopped is None else _OUT_OF.get(stopped, reading.finish_reason),
            )
            for reading, stopped in readings
        ]

    def _show(self, denoising: Denoising) -> None:
        """Report the row that is the most confident after this step."""
        if self._on_draft is None:
            return
        reading, row = max(((self._reading(row), row) for row in denoising.read()), key=lambda pair: pair[0].confidence)
        texts = self._checkpoint.format.pieces(row.token_ids)
        before = self.spent.steps - denoising.steps
        self._on_draft(
            Draft(
                step=self.spent.steps,
                max_steps=before + self._settings.max_denoising_steps,
                fills=reading.fills,
                tokens=tuple(DraftToken(text, kept) for text, kept in zip(texts, row.accepted, strict=True)),
            )
        )

    def _nothing_yet(self) -> Choice:
        """The best there is before the first step: what stands there now."""
        if isinstance(self.request, EditRequest):
            texts = [self.request.selection]
        else:
            texts = ["" for segment in self.request.segments if isinstance(segment, Masked)]
        return Choice(tuple(map(Fill, texts)), 0.0, FinishReason.DEADLINE)

    def _shorter(self) -> Prepared | None:
        """The request with gaps short enough for a shorter canvas; None when there is none."""
        request, length = self.request, self.prepared.canvas.shape[1]
        while isinstance(request, InfillRequest):
            gaps = [segment.max_tokens for segment in request.segments if isinstance(segment, Masked)]
            if max(gaps) == 1:
                return None
            halved = (
                Masked(max(1, segment.max_tokens // 2)) if isinstance(segment, Masked) else segment
                for segment in request.segments
            )
            request = replace(request, segments=tuple(halved), n=1)
            prepared = self._checkpoint.format.prepare(request)
            if prepared.canvas.shape[1] < length and prepared.prompt_ids == self.prepared.prompt_ids:
                return prepared
        return None

    @property
    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    @property
    def _denoising_deadline(self) -> float | None:
        """What is filled is still to be judged, which takes about as long as a step."""
        if self._deadline is None or self.judging is None:
            return self._deadline
        return self._deadline - self.spent.denoise_s / max(1, self.spent.steps)

    def _end(self, choices: Iterable[Choice]) -> None:
        """The canvases are through: judge what they have given, or answer with it."""
        filled = [*self._complete, *choices]
        if self.judging is None:
            self._conclude(filled)
            return
        self._filled, self.denoising = filled, None
        ranked = _ranked(filled, len(filled))
        self.judging.add_fills({choice.fills[0].text: choice.confidence for choice in ranked})
        if self.judging.done:
            self._conclude(self._verdicts(filled))

    def _verdicts(self, filled: Iterable[Choice]) -> list[Choice]:
        """The proposals and what was ``filled``, as they are judged."""
        assert self.judging is not None
        reasons = {choice.fills[0].text: choice.finish_reason for choice in filled}
        return [
            Choice(
                fills=(Fill(verdict.text),),
                confidence=verdict.probability,
                finish_reason=FinishReason.GAP_END if verdict.proposed else reasons[verdict.text],
                proposed=verdict.proposed,
            )
            for verdict in self.judging.verdicts()
        ]

    def _conclude(self, choices: Iterable[Choice]) -> None:
        judging = self.judging
        self.outcome = InfillResult(
            choices=_ranked(choices, self.request.n),
            usage=self.spent.usage(self.prepared.truncated_tokens),
            timings_ms=self.spent.timings(self._began),
            model=self._checkpoint.name,
            engine="local",
            confidence_floor=self._checkpoint.format.confidence_floor if judging is None else judging.floor,
        )
        self._free()

    def _free(self) -> None:
        self.denoising, self.judging, self.prompt, self.judged_prompt, self.encoded_ids = None, None, None, None, []


def _ranked(choices: Iterable[Choice], n: int) -> tuple[Choice, ...]:
    """The ``n`` most confident choices of different fills, the surest first; a format may have tried more rows."""
    best: dict[tuple[Fill, ...], Choice] = {}
    for choice in choices:
        if choice.fills not in best or best[choice.fills].confidence < choice.confidence:
            best[choice.fills] = choice
    return tuple(sorted(best.values(), key=lambda choice: choice.confidence, reverse=True)[:n])


def _due(choice: Choice) -> Choice:
    return replace(choice, finish_reason=FinishReason.DEADLINE)
