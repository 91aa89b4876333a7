"""The denoising loop: denoise, accept, renoise, re-pin, and stop when there is nothing left to settle.

A request's canvas is a :class:`Denoising`; :func:`step` takes several of them one step further in one forward, and
:func:`denoise` runs a single one to its end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from inference.canvas import TokenCanvas
from inference.canvas_rows import CanvasRows, Row, Stopped
from inference.errors import Cancelled, ModelBroken
from inference.models.base import Denoiser, PromptCache
from inference.samplers import Draw, InversionDraw, NoiseRange, Sampler
from inference.shared_forward import SharedForward
from inference.stopping import Stopping
from inference.temperature import LinearTemperature

CROP_CONFIDENCE = 0.9
"""How probable the last decisive token must be before the canvas is cropped behind it."""

Decisive = Callable[[torch.Tensor], torch.Tensor]
"""Maps a draft (B, C) int64 to the positions (B, C) bool that must be settled; see ``Format.decisive``."""


@dataclass(frozen=True)
class DenoisingSettings:
    """How to denoise; a checkpoint's ``generation_config.json`` says it.

    ``crop``: go on with a shorter canvas once the decisive positions end, for good, inside it.
    """

    sampler: Sampler
    temperature: LinearTemperature
    stopping: Stopping
    max_denoising_steps: int
    draw: Draw = field(default_factory=InversionDraw)
    crop: bool = True


@dataclass(frozen=True)
class Denoised:
    """All rows of a canvas after ``steps`` forwards; cropped rows are shorter than the canvas was."""

    rows: tuple[Row, ...]
    steps: int

    @property
    def token_ids(self) -> list[list[int]]:
        """The token ids of every row."""
        return [row.token_ids for row in self.rows]


def all_positions(token_ids: torch.Tensor) -> torch.Tensor:
    """Every position decides."""
    return torch.ones_like(token_ids, dtype=torch.bool)


class Denoising:
    """One request's canvas on its way. A row that is finished stays as it is and takes no further part.

    ``noise`` is the range of ids that noise is drawn from, with ``generator``; ``decisive`` maps the argmax canvas to
    the positions that must be settled; ``canvas_lengths`` are the lengths that it may be cropped to, rising.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        prompt: PromptCache,
        canvas: TokenCanvas,
        settings: DenoisingSettings,
        *,
        noise: NoiseRange,
        generator: torch.Generator | None = None,
        decisive: Decisive = all_positions,
        canvas_lengths: Sequence[int] = (),
    ) -> None:
        self.prompt, self.settings, self.decisive = prompt, settings, decisive
        self.steps, self.seconds = 0, 0.0
        self.temperatures = settings.temperature.schedule(settings.max_denoising_steps).to(denoiser.device)
        self.live: tuple[int, ...] = tuple(range(canvas.shape[0]))
        self.forward: SharedForward | None = None
        self._denoiser, self._noise, self._generator = denoiser, noise, generator
        self._count, length = canvas.shape
        self._pinned = canvas.pinned.cpu()
        given_columns = self._pinned.any(dim=0).nonzero()
        last_given = int(given_columns[-1]) + 1 if len(given_columns) else 0
        self._lengths = [n for n in canvas_lengths if last_given <= n < length] if settings.crop else []
        self._finished: dict[int, CanvasRows] = {}
        self.rows = CanvasRows.starting(denoiser, canvas, self._noise_for(length))

    @property
    def canvas_length(self) -> int:
        """C, of the rows that are on their way."""
        return self.rows.canvas.shape[1]

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return not self.live or self.steps >= self.settings.max_denoising_steps

    @property
    def pinned(self) -> torch.Tensor:
        """The pinned positions of the rows on their way, (B, C) bool, on the host."""
        return self._pinned[list(self.live), : self.canvas_length]

    def too_late(self, deadline: float | None) -> bool:
        """Whether another step, as long as those so far, would end past ``deadline``, a ``time.monotonic()``."""
        if deadline is None or not self.steps:
            return False
        return time.monotonic() + self.seconds / self.steps > deadline

    def random(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The next step's random numbers: to draw with, (B, C, R), and fresh noise, (B, C)."""
        # drawn for finished rows too: what one row gets must not depend on when another one ends
        shape, denoiser = (self._count, self.canvas_length), self._denoiser
        numbers = self.settings.draw.numbers(shape, denoiser.vocab_size, denoiser.device, self._generator)
        return self._of_live(numbers), self._of_live(self._noise_for(shape[1]))

    def advance(self, rows: CanvasRows, settled: Sequence[int], needed: Sequence[int], seconds: float) -> None:
        """Take over the ``rows`` after a step: those that are ``settled`` leave, the others go on with as many
        positions as they ``need``."""
        self.rows, self.steps, self.seconds = rows, self.steps + 1, self.seconds + seconds
        staying = [index for index, is_settled in enumerate(settled) if not is_settled]
        if len(staying) < len(self.live):
            leaving = [index for index, is_settled in enumerate(settled) if is_settled]
            self._finished |= {self.live[index]: rows.only([index]) for index in leaving}
            self.keep(staying)
        longest = max((needed[index] for index in staying), default=self.canvas_length)
        shorter = next((length for length in self._lengths if longest <= length < self.canvas_length), None)
        if shorter is not None:
            self.rows, self.forward = self.rows.cropped(shorter), None

    def keep(self, staying: Sequence[int]) -> None:
        """Go on with these of the rows on their way, given by their index among them."""
        self.live, self.forward = tuple(self.live[index] for index in staying), None
        if staying:
            self.rows = self.rows.only(staying)

    def read(self, otherwise: Stopped | None = None) -> tuple[Row, ...]:
        """Every row as it is now; those still on their way are ``stopped`` as ``otherwise`` says."""
        found = [rows.read(0, number, Stopped.STABLE) for number, rows in self._finished.items()]
        found += [self.rows.read(index, number, otherwise) for index, number in enumerate(self.live)]
        return tuple(sorted(found, key=lambda row: row.number))

    def _noise_for(self, length: int) -> torch.Tensor:
        shape, device = (self._count, length), self._denoiser.device
        return self.settings.sampler.noise(shape, self._noise, device, self._generator)

    def _of_live(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if len(self.live) == self._count else torch.stack([tensor[row] for row in self.live])


@torch.inference_mode()
def step(denoiser: Denoiser, denoisings: Sequence[Denoising]) -> None:
    """Take ``denoisings``, of one canvas length and none of them over, one step further with one forward.

    Each step:

    1. *Denoise*: one decoder forward, scaled by each row's own temperature; pinned positions are certain.
    2. *Accept* the sampled tokens that are certain enough together.
    3. *Renoise* every other position.
    4. *Re-pin* the given tokens.
    5. *Stop?* A row that is stable and confident leaves; the only look at the device's numbers in a step.

    What becomes of one denoising does not depend on the others. Raises :class:`ModelBroken` when the model's output is
    not a number; the denoisings are then as before, but for their random numbers.
    """
    started, forward, settings = time.monotonic(), _forward_of(denoiser, denoisings), denoisings[0].settings
    numbers, noise = (torch.cat(parts) for parts in zip(*(d.random() for d in denoisings), strict=True))
    temperatures = torch.cat([d.temperatures[d.steps].expand(len(d.live)) for d in denoisings])
    before = forward.rows
    # 1. Denoise
    logits = denoiser.denoise(before.canvas, forward.prompt, before.conditioning, forward.free)
    scaled = logits / forward.at_free(temperatures[:, None].expand(before.canvas.shape))[:, None]
    probabilities, argmax = scaled.softmax(dim=-1), scaled.argmax(dim=-1)
    certain = torch.zeros_like(before.log_probs)
    entropy = forward.with_pins(_entropy(scaled, probabilities, argmax), certain)
    # 2. Accept
    drawn = forward.with_pins(settings.draw(probabilities, forward.at_free(numbers)), before.given)
    canvas, accepted = settings.sampler.accept(before.canvas, drawn, entropy)
    # 3. Renoise
    canvas = settings.sampler.renoise(canvas, accepted, noise)
    # 4. Re-pin
    canvas = torch.where(before.pinned, before.given, canvas)
    draft = forward.with_pins(argmax, before.given)
    log_probs = forward.with_pins(_log_probs(logits, argmax), certain)
    # 5. Stop?
    rows = CanvasRows(
        given=before.given,
        pinned=before.pinned,
        canvas=canvas,
        conditioning=forward.with_anchors(denoiser.soft_embeddings(probabilities)),
        draft=draft,
        log_probs=log_probs,
        accepted=accepted,
        unchanged=torch.where(draft == before.draft, before.unchanged + 1, 0),
    )
    decisive = denoisings[0].decisive(draft)
    settled = settings.stopping(rows.unchanged, entropy, rows.pinned, decisive)
    broken, needed = entropy.isnan().any(dim=-1), _needed(rows, decisive)
    is_settled, is_broken, are_needed = torch.stack([settled.long(), broken.long(), needed]).tolist()
    if any(is_broken):
        raise ModelBroken
    forward.rows, seconds, first = rows, time.monotonic() - started, 0
    for denoising, part in zip(denoisings, rows.split(forward.counts), strict=True):
        mine = slice(first, first := first + len(denoising.live))
        denoising.advance(part, is_settled[mine], are_needed[mine], seconds)


def denoise(
    denoiser: Denoiser,
    prompt: PromptCache,
    canvas: TokenCanvas,
    settings: DenoisingSettings,
    *,
    noise: NoiseRange,
    generator: torch.Generator | None = None,
    decisive: Decisive = all_positions,
    canvas_lengths: Sequence[int] = (),
    deadline: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    on_step: Callable[[Denoising], None] | None = None,
) -> Denoised:
    """Denoise one canvas to its end; see :class:`Denoising` and :func:`step`.

    No step starts that would pass ``deadline``, a ``time.monotonic()`` value, but the first. With nothing pinned, all
    decisive and tokens drawn as transformers draws them, the result is that of
    ``DiffusionGemmaForBlockDiffusion.generate`` for the same random numbers.

    Raises :class:`Cancelled` before the step at which ``cancelled()`` turns true, and :class:`ModelBroken`.
    """
    denoising = Denoising(
        denoiser,
        prompt,
        canvas,
        settings,
        noise=noise,
        generator=generator,
        decisive=decisive,
        canvas_lengths=canvas_lengths,
    )
    why = Stopped.STEPS
    while not denoising.over:
        if cancelled():
            raise Cancelled
        if denoising.too_late(deadline):
            why = Stopped.DEADLINE
            break
        step(denoiser, [denoising])
        if on_step is not None:
            on_step(denoising)
    return Denoised(denoising.read(otherwise=why), denoising.steps)


def _forward_of(denoiser: Denoiser, denoisings: Sequence[Denoising]) -> SharedForward:
    """What the denoisings share, joined again only when their composition changed."""
    members = tuple(map(id, denoisings))
    forward = denoisings[0].forward
    if forward is not None and forward.members == members and all(d.forward is forward for d in denoisings):
        return forward
    for other in denoisings[1:]:
        ours, theirs = denoisings[0].settings, other.settings
        if (ours.sampler, ours.draw, ours.stopping) != (theirs.sampler, theirs.draw, theirs.stopping):
            raise ValueError("denoisings of different settings cannot share a forward")
    forward = SharedForward.of(
        denoiser,
        members,
        [denoising.prompt for denoising in denoisings],
        [denoising.rows for denoising in denoisings],
        torch.cat([denoising.pinned for denoising in denoisings]),
    )
    for denoising in denoisings:
        denoising.forward = forward
    return forward


def _entropy(logits: torch.Tensor, probabilities: torch.Tensor, argmax: torch.Tensor) -> torch.Tensor:
    """Entropy in nats, (F,), of ``logits`` (F, V), whose softmax and argmax are at hand."""
    # log p = logit - top logit + log p(top); a log-softmax, or the exponentials of one, cost a CPU several times that
    top = argmax[:, None]
    below: torch.Tensor = torch.linalg.vecdot(probabilities, logits - logits.gather(-1, top))
    return -(below + probabilities.gather(-1, top).squeeze(-1).log())


def _log_probs(logits: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """Natural log-probability, (F,), of ``token_ids`` (F,), the likeliest ones, under ``logits`` (F, V)."""
    return logits.softmax(dim=-1).gather(-1, token_ids[:, None]).squeeze(-1).log()


def _needed(rows: CanvasRows, decisive: torch.Tensor) -> torch.Tensor:
    """How many positions of each row, (B,) int64, must stay in the canvas.

    Those up to the last decisive one if that is there to stay: the same for two steps, and probable; else all.
    """
    count = decisive.sum(dim=-1)
    last = (count - 1)[:, None]
    stays = (rows.unchanged.gather(-1, last) >= 1) & (rows.log_probs.gather(-1, last) > math.log(CROP_CONFIDENCE))
    return torch.where(stays.squeeze(-1), count, decisive.shape[1])
