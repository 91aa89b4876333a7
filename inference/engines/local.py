"""The local engine: torch in this process, on the device the checkpoint was loaded onto."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from inference.canvas import TokenCanvas
from inference.checkpoint import Checkpoint, load_checkpoint
from inference.denoising import Denoised, Step, Stopped, denoise
from inference.engines.base import Cancelled, EngineError, ReportProgress
from inference.formats.base import Prepared
from inference.models.base import PromptCache
from inference.prefix_cache import PrefixCache
from inference.protocol import (
    Choice,
    Draft,
    DraftToken,
    ErrorCode,
    Fill,
    FinishReason,
    Fixed,
    InfillRequest,
    InfillResult,
    Masked,
    Timings,
    Usage,
)

_WARM_UP = InfillRequest(segments=(Fixed("def f(x):\n    "), Masked(8), Fixed("\n")), max_denoising_steps=2, seed=0)


_Filled = tuple[int, float, Denoised]
"""Tokens found in the prefix cache, when the prompt was encoded (``time.monotonic()``), and the result."""


class LocalEngine:
    """Fills gaps with a checkpoint folder. See :class:`~inference.engines.base.Engine`.

    ``prefix_bytes`` bounds the memory of encoded prompts; by default 256 MiB, on a GPU a sixteenth of its memory.
    """

    def __init__(self, folder: Path, *, prefix_bytes: int | None = None) -> None:
        self._folder = folder
        self._checkpoint: Checkpoint | None = None
        self._prefix_bytes = prefix_bytes
        self._prefixes = PrefixCache(0)

    @property
    def name(self) -> str:
        """``local``."""
        return "local"

    @property
    def model(self) -> str:
        """The checkpoint's name; the folder's before :meth:`load`."""
        return self._checkpoint.name if self._checkpoint else self._folder.name

    @property
    def device(self) -> str:
        """Where the weights are; empty before :meth:`load`."""
        return str(self._checkpoint.denoiser.device) if self._checkpoint else ""

    def load(self, report: ReportProgress) -> None:
        """Load the checkpoint and run one short request. Raises :class:`EngineError`."""
        self.close()
        with _out_of_memory_named("loading the checkpoint"):
            self._checkpoint = load_checkpoint(self._folder, report)
            device = self._checkpoint.denoiser.device
            self._prefixes = PrefixCache(_prefix_bytes(device) if self._prefix_bytes is None else self._prefix_bytes)
            report(0.9, "warming up")
            self.infill(_WARM_UP, deadline=None, cancelled=lambda: False, on_draft=None)
            self._prefixes.clear()
        report(1.0, "ready")

    def infill(
        self,
        request: InfillRequest,
        *,
        deadline: float | None,
        cancelled: Callable[[], bool],
        on_draft: Callable[[Draft], None] | None,
    ) -> InfillResult:
        """Prepare, encode, denoise, rank; see :meth:`Engine.infill`."""
        if (checkpoint := self._checkpoint) is None:
            raise EngineError("the model is not loaded; wait until the worker is ready", ErrorCode.NOT_READY)
        if cancelled():
            raise Cancelled
        started = time.monotonic()
        prepared = checkpoint.format.prepare(request)

        def fill() -> _Filled:
            prompt, shared = self._encode(checkpoint, prepared.prompt_ids)
            encoded = time.monotonic()
            denoised = self._denoise(checkpoint, request, prepared, prompt, deadline, cancelled, on_draft)
            return shared, encoded, denoised

        cached_tokens, encoded, denoised = self._with_memory(fill)
        rows, length = prepared.canvas.shape
        ended = time.monotonic()
        return InfillResult(
            choices=_choices(checkpoint, prepared, denoised),
            usage=Usage(
                prompt_tokens=len(prepared.prompt_ids),
                cached_tokens=cached_tokens,
                canvas_tokens=rows * length,
                denoising_steps=denoised.steps,
                truncated_tokens=prepared.truncated_tokens,
            ),
            timings_ms=Timings(
                queue=0.0,
                encode=(encoded - started) * 1000,
                denoise=(ended - encoded) * 1000,
                total=(ended - started) * 1000,
            ),
            model=self.model,
            engine=self.name,
            confidence_floor=checkpoint.format.confidence_floor,
        )

    def close(self) -> None:
        """Free the weights and the prompts."""
        self._checkpoint = None
        self._prefixes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _encode(self, checkpoint: Checkpoint, prompt_ids: list[int]) -> tuple[PromptCache, int]:
        """The prompt's cache, and how many of its tokens did not have to be encoded."""
        denoiser = checkpoint.denoiser
        past, shared = self._prefixes.longest_shared(prompt_ids)
        prompt = denoiser.encode(torch.tensor([prompt_ids], device=denoiser.device), past, shared)
        self._prefixes.keep(prompt_ids, prompt, denoiser.size_bytes(prompt))
        return prompt, shared

    def _with_memory(self, work: Callable[[], _Filled]) -> _Filled:
        """Do ``work``; when memory runs out, once more without the prefix cache. Raises :class:`EngineError`."""
        try:
            with _out_of_memory_named("filling the gap"):
                return work()
        except EngineError as error:
            if error.code is not ErrorCode.OUT_OF_MEMORY or not len(self._prefixes):
                raise
        self._prefixes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        with _out_of_memory_named("filling the gap"):
            return work()

    def _denoise(
        self,
        checkpoint: Checkpoint,
        request: InfillRequest,
        prepared: Prepared,
        cache: PromptCache,
        deadline: float | None,
        cancelled: Callable[[], bool],
        on_draft: Callable[[Draft], None] | None,
    ) -> Denoised:
        device, settings = checkpoint.denoiser.device, checkpoint.settings
        if request.max_denoising_steps is not None:
            settings = replace(settings, max_denoising_steps=request.max_denoising_steps)
        generator = None if request.seed is None else torch.Generator(device).manual_seed(request.seed)

        def show(step: Step) -> None:
            if on_draft is not None:
                on_draft(_draft(checkpoint, prepared, step, settings.max_denoising_steps))

        return denoise(
            checkpoint.denoiser,
            cache,
            _on_device(prepared.canvas, device),
            settings,
            noise=checkpoint.format.noise_range,
            generator=generator,
            deadline=deadline,
            cancelled=cancelled,
            on_step=show if on_draft is not None else None,
            decisive=checkpoint.format.decisive,
        )


def _choices(checkpoint: Checkpoint, prepared: Prepared, denoised: Denoised) -> tuple[Choice, ...]:
    """One choice per different fill, the most confident first."""
    best: dict[tuple[str, ...], Choice] = {}
    for row, log_probs, stopped in zip(
        denoised.token_ids.tolist(), denoised.log_probs.tolist(), denoised.stopped, strict=True
    ):
        reading = checkpoint.format.read(prepared, row)
        confidence = _confidence([log_probs[position] for position in reading.scored])
        finish_reason = _OUT_OF.get(stopped, reading.finish_reason)
        if reading.fills not in best or best[reading.fills].confidence < confidence:
            best[reading.fills] = Choice(tuple(map(Fill, reading.fills)), confidence, finish_reason)
    return tuple(sorted(best.values(), key=lambda choice: choice.confidence, reverse=True))


_OUT_OF = {Stopped.STEPS: FinishReason.STEPS, Stopped.DEADLINE: FinishReason.DEADLINE}


def _draft(checkpoint: Checkpoint, prepared: Prepared, step: Step, max_steps: int) -> Draft:
    """The row that is the most confident after this step."""
    rows = step.token_ids.tolist()
    readings = [checkpoint.format.read(prepared, row) for row in rows]
    log_probs = step.log_probs.tolist()
    scores = [_confidence([log_probs[i][at] for at in reading.scored]) for i, reading in enumerate(readings)]
    best = scores.index(max(scores))
    pieces, accepted = checkpoint.format.pieces(rows[best]), step.accepted[best].tolist()
    return Draft(
        step=step.number,
        max_steps=max_steps,
        fills=readings[best].fills,
        tokens=tuple(DraftToken(text, kept) for text, kept in zip(pieces, accepted, strict=True)),
    )


def _confidence(log_probs: list[float]) -> float:
    """exp(mean log p), 0..1; nothing to score is no confidence."""
    return min(1.0, math.exp(sum(log_probs) / len(log_probs))) if log_probs else 0.0


def _on_device(canvas: TokenCanvas, device: torch.device) -> TokenCanvas:
    warm = None if canvas.warm is None else canvas.warm.to(device)
    return TokenCanvas(canvas.token_ids.to(device), canvas.pinned.to(device), warm)


def _prefix_bytes(device: torch.device) -> int:
    """The default bound of the prefix cache."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory // 16)
    return 256 * 2**20


@contextmanager
def _out_of_memory_named(doing: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors into one :class:`EngineError`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # the CPU allocator raises a plain RuntimeError
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        raise EngineError(
            f"out of memory while {doing}; ask for a shorter gap or fewer candidates, or load a smaller model",
            ErrorCode.OUT_OF_MEMORY,
        ) from error
