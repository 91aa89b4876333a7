"""The denoising loop: denoise, accept, renoise, re-pin, and stop when there is nothing left to settle."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch

from inference.canvas import TokenCanvas
from inference.errors import Cancelled, EngineError
from inference.models.base import Denoiser, PromptCache
from inference.samplers import Draw, NoiseRange, Sampler, draw_by_inversion
from inference.stopping import Stopping
from inference.temperature import LinearTemperature


class Stopped(StrEnum):
    """Why a row is as it is: settled, or the best there was when steps or time ran out."""

    STABLE = "stable"
    STEPS = "steps"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class DenoisingSettings:
    """How to denoise; a checkpoint's ``generation_config.json`` says it."""

    sampler: Sampler
    temperature: LinearTemperature
    stopping: Stopping
    max_denoising_steps: int
    draw: Draw = draw_by_inversion


@dataclass(frozen=True)
class Step:
    """The draft after a step, counted from 1: ``token_ids`` (B, C) int64, the argmax canvas; ``accepted`` (B, C) bool;
    ``log_probs`` (B, C) float32, of those tokens at temperature 1."""

    number: int
    token_ids: torch.Tensor
    accepted: torch.Tensor
    log_probs: torch.Tensor


@dataclass(frozen=True)
class Denoised:
    """The result: ``token_ids`` (B, C) int64, the argmax canvas; ``log_probs`` (B, C) float32, natural log-probability
    of those tokens at temperature 1 in each row's last forward; ``steps`` forwards done; ``stopped`` per row."""

    token_ids: torch.Tensor
    log_probs: torch.Tensor
    steps: int
    stopped: tuple[Stopped, ...]


@torch.inference_mode()
def denoise(
    denoiser: Denoiser,
    prompt: PromptCache,
    canvas: TokenCanvas,
    settings: DenoisingSettings,
    *,
    noise: NoiseRange,
    generator: torch.Generator | None = None,
    deadline: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    on_step: Callable[[Step], None] | None = None,
    decisive: Callable[[torch.Tensor], torch.Tensor] = lambda token_ids: torch.ones_like(token_ids, dtype=torch.bool),
) -> Denoised:
    """Denoise ``canvas`` given ``prompt``.

    Each step:

    1. *Denoise*: one decoder forward; pinned positions become certain, the rest is scaled by the temperature.
    2. *Accept* the sampled tokens that are certain enough together.
    3. *Renoise* every other position.
    4. *Re-pin* the given tokens.
    5. *Stop?* A row that is stable and confident stays as it is; all rows settled, or no time left, ends the loop.

    ``noise`` is the range of ids that noise is drawn from; ``deadline`` a ``time.monotonic()`` value: no step starts
    that would pass it, but the first. ``decisive`` maps the argmax canvas (B, C) to the positions (B, C) bool that must
    be settled; the default is all. With nothing pinned, all decisive and tokens drawn as transformers draws them, the
    result is that of ``DiffusionGemmaForBlockDiffusion.generate`` for the same random numbers.

    Raises :class:`Cancelled` before the step at which ``cancelled()`` turns true, and :class:`EngineError` when the
    model's output is not a number.
    """
    steps, started = settings.max_denoising_steps, time.monotonic()
    noisy = settings.sampler.initialize(canvas.shape, noise, denoiser.device, generator)
    rows = _Rows.starting_from(repinned(_warmed(noisy, canvas), canvas))
    finished = torch.zeros(canvas.shape[0], dtype=torch.bool, device=denoiser.device)

    for step in range(1, steps + 1):
        if cancelled():
            raise Cancelled
        if step > 1 and _too_late(started, step - 1, deadline):
            return _result(rows, step - 1, finished, Stopped.DEADLINE)
        # 1. Denoise
        logits = certain_at_pins(denoiser.denoise(rows.canvas, prompt, rows.conditioning), canvas)
        scaled = logits / settings.temperature.at(steps - step + 1, steps)
        entropy = _entropy(scaled)
        # 2. Accept
        current, accepted = settings.sampler.accept(rows.canvas, settings.draw(scaled, generator), entropy)
        # 3. Renoise
        current = settings.sampler.renoise(current, accepted, noise, generator)
        # 4. Re-pin
        current, draft = repinned(current, canvas), repinned(scaled.argmax(dim=-1), canvas)
        # 5. Stop?
        rows = rows.followed_by(current, draft, scaled, _log_probs(logits, draft), unless=finished)
        finished = finished | settings.stopping(rows.unchanged, entropy, canvas.pinned, decisive(rows.draft))
        if on_step is not None:
            on_step(Step(step, rows.draft, accepted, rows.log_probs))
        if finished.all():
            break
    return _result(rows, step, finished, Stopped.STEPS)


def certain_at_pins(logits: torch.Tensor, canvas: TokenCanvas) -> torch.Tensor:
    """Replace ``logits`` (B, C, V) at pinned positions by the one-hot of their token.

    Its entropy is 0, so the position is accepted at no cost to the others, and self-conditioning reads its exact
    embedding.
    """
    if not canvas.pinned.any():
        return logits
    one_hot = torch.full_like(logits, -torch.inf).scatter(-1, canvas.token_ids[..., None], 0.0)
    return torch.where(canvas.pinned[..., None], one_hot, logits)


def repinned(token_ids: torch.Tensor, canvas: TokenCanvas) -> torch.Tensor:
    """Put the given tokens back into ``token_ids`` (B, C), whatever the sampler made of them."""
    return torch.where(canvas.pinned, canvas.token_ids, token_ids)


@dataclass(frozen=True)
class _Rows:
    """What one step hands to the next. ``unchanged`` (B, C) counts the steps since ``draft`` last moved."""

    canvas: torch.Tensor
    draft: torch.Tensor
    conditioning: torch.Tensor | None
    log_probs: torch.Tensor
    unchanged: torch.Tensor

    @classmethod
    def starting_from(cls, canvas: torch.Tensor) -> _Rows:
        no_draft = torch.full_like(canvas, -1)
        no_log_probs = torch.full_like(canvas, -torch.inf, dtype=torch.float32)
        return cls(canvas, no_draft, None, no_log_probs, torch.zeros_like(canvas))

    def followed_by(
        self,
        canvas: torch.Tensor,
        draft: torch.Tensor,
        conditioning: torch.Tensor,
        log_probs: torch.Tensor,
        *,
        unless: torch.Tensor,
    ) -> _Rows:
        """The rows after a step; those that ``unless`` (B,) bool names stay frozen."""
        if self.conditioning is not None and unless.any():
            canvas = torch.where(unless[:, None], self.canvas, canvas)
            draft = torch.where(unless[:, None], self.draft, draft)
            conditioning = torch.where(unless[:, None, None], self.conditioning, conditioning)
            log_probs = torch.where(unless[:, None], self.log_probs, log_probs)
        unchanged = torch.where(draft == self.draft, self.unchanged + 1, 0)
        return _Rows(canvas, draft, conditioning, log_probs, unchanged)


def _warmed(noisy: torch.Tensor, canvas: TokenCanvas) -> torch.Tensor:
    return noisy if canvas.warm is None else torch.where(canvas.warm, canvas.token_ids, noisy)


def _entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy in nats, (B, C), of ``logits`` (B, C, V)."""
    log_p = logits - logits.logsumexp(dim=-1, keepdim=True)
    finite = log_p.clamp(min=torch.finfo(log_p.dtype).min)  # -inf * 0 is not a number
    entropy = -(finite * log_p.softmax(dim=-1)).sum(dim=-1)
    if entropy.isnan().any():
        raise EngineError("the model's output is not a number; check the checkpoint, or load it in another precision")
    return entropy


def _log_probs(logits: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """Natural log-probability, (B, C), of ``token_ids`` (B, C) under ``logits`` (B, C, V)."""
    return logits.gather(-1, token_ids[..., None]).squeeze(-1) - logits.logsumexp(dim=-1)


def _too_late(started: float, steps_done: int, deadline: float | None) -> bool:
    """Whether another step, as long as those so far, would end past ``deadline``."""
    now = time.monotonic()
    return deadline is not None and now + (now - started) / steps_done > deadline


def _result(rows: _Rows, steps: int, finished: torch.Tensor, otherwise: Stopped) -> Denoised:
    stopped = tuple(Stopped.STABLE if row else otherwise for row in finished.tolist())
    return Denoised(rows.draft, rows.log_probs, steps, stopped)
