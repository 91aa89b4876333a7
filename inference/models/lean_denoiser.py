"""The lean model behind the :class:`~inference.models.base.Denoiser` Protocol."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from inference.errors import EngineError
from inference.models.frame import Frame, LeanPrompt
from inference.models.lean import LeanModel
from inference.models.lean_tensors import LeanTensors
from inference.models.lean_weights import build
from inference.models.linear import Precision
from inference.models.room import Room
from inference.models.text_config import TextConfig

_FRAMES = 2
"""Sets of prompts that stay laid out, for canvases that are denoised in turns."""


@dataclass(frozen=True, eq=False)
class LeanPrompts:
    """Prompts of different documents: row b of a canvas follows number b."""

    prompts: tuple[LeanPrompt, ...]


def prompts_of(prompt: LeanPrompt | LeanPrompts) -> tuple[LeanPrompt, ...]:
    """One prompt for all rows, or one for each."""
    return prompt.prompts if isinstance(prompt, LeanPrompts) else (prompt,)


class LeanDenoiser:
    """Runs every checkpoint of the family. A canvas of any length follows its prompt at the positions P, P + 1, ..."""

    def __init__(self, model: LeanModel) -> None:
        self.model = model
        self._frames: OrderedDict[tuple[int, int, int], tuple[Any, Frame]] = OrderedDict()

    @classmethod
    def load(
        cls,
        config: Mapping[str, Any],
        weights: Mapping[str, torch.Tensor],
        device: torch.device,
        dtype: torch.dtype,
        report: Callable[[float, str], None],
        precision: str = Precision.AUTO,
    ) -> LeanDenoiser:
        """Load ``weights``, under transformers' names, of the model that ``config`` (config.json) describes.

        Each tensor is asked for once and goes straight to ``device``, unless an encoder of its own needs it again; what
        is not of the text model is never asked for. ``dtype`` is that of activations; ``precision`` is one of
        :class:`Precision`, of which ``bf16`` and ``fp32`` take the place of ``dtype``. ``report`` is called with 0..1
        and what comes. Raises :class:`EngineError` when the config is of another architecture, or a tensor is missing
        or has another shape.
        """
        if precision not in list(Precision):
            raise EngineError(f"there is no precision {precision}; take one of {', '.join(Precision)}")
        try:
            text = TextConfig.from_mapping(config["text_config"])
        except (KeyError, TypeError) as error:
            raise EngineError(f"config.json lacks {error} in 'text_config'; download the checkpoint again") from error
        except ValueError as error:
            raise EngineError(f"config.json is of another architecture: {error}; choose another checkpoint") from error
        dtype = {Precision.BF16: torch.bfloat16, Precision.FP32: torch.float32}.get(Precision(precision), dtype)
        with torch.inference_mode():
            return cls(build(LeanTensors(text, weights, device, dtype, report), fp8=precision == Precision.FP8))

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""
        return self.model.config.vocab_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @torch.inference_mode()
    def encode(self, prompt_ids: torch.Tensor, past: LeanPrompt | None = None, shared: int = 0) -> LeanPrompt:
        """Encode ``prompt_ids`` (1, P) int64, P at least 1, from token ``shared`` on; see :class:`Denoiser`."""
        length = prompt_ids.shape[1]
        if past is None or not shared:
            shared = 0
            rooms = tuple(
                Room.empty(layer.kv_heads, length, layer.head_dim, dtype=self.model.dtype, device=self.device)
                for layer in self.model.config.layers
            )
        elif shared == length:
            return LeanPrompt(past.rooms, length)
        else:
            rooms = tuple(room.from_position(shared, length - shared) for room in past.rooms)
        self.model.encode(prompt_ids[:, shared:], rooms)
        return LeanPrompt(rooms, length)

    def size_bytes(self, prompt: LeanPrompt) -> int:
        """Bytes of the rooms, their unused part included."""
        return sum(room.size_bytes for room in prompt.rooms)

    def side_by_side(self, prompts: Sequence[LeanPrompt]) -> LeanPrompts:
        """Lay prompts beside each other; see :class:`Denoiser`."""
        return LeanPrompts(tuple(prompts))

    @torch.inference_mode()
    def embeddings(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Scaled input embeddings of ``token_ids`` (...) int64, (..., D)."""
        return self.model.embeddings(token_ids)

    @torch.inference_mode()
    def soft_embeddings(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Expected input embeddings (F, D) under ``probabilities`` (F, V)."""
        return self.model.soft_embeddings(probabilities)

    @torch.inference_mode()
    def denoise(
        self,
        canvas_ids: torch.Tensor,
        prompt: LeanPrompt | LeanPrompts,
        conditioning: torch.Tensor,
        free: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One decoder forward over ``canvas_ids`` (B, C) -> logits (F, V) float32; see :class:`Denoiser`."""
        rows, length = canvas_ids.shape
        return self.model.denoise(canvas_ids, self._frame(prompt, rows, length), conditioning, free)

    @torch.inference_mode()
    def score(self, rows: Sequence[Sequence[int]], prompt: LeanPrompt, shared: int) -> list[list[float]]:
        """Log p of continuations under the causal encoder; see :class:`Denoiser`."""
        found = iter(self.model.score(rows, prompt.rooms, shared).tolist())
        return [list(islice(found, len(row) - 1)) for row in rows]

    def release(self) -> None:
        """Drop the frames, which hold copies of prompts."""
        self._frames.clear()

    def _frame(self, prompt: LeanPrompt | LeanPrompts, rows: int, canvas: int) -> Frame:
        """The frame of an earlier step over the same prompts, or one made for them."""
        key = id(prompt), rows, canvas
        if key in self._frames:
            self._frames.move_to_end(key)
            return self._frames[key][1]
        prompts = prompts_of(prompt)
        lengths = {one.length for one in prompts}
        model = self.model
        frame = Frame(
            model.config,
            model.frequencies,
            (rows, canvas),
            max(lengths),
            masked=len(lengths) > 1,
            dtype=model.dtype,
        )
        frame.fill(prompts)
        self._frames[key] = prompt, frame  # with the prompt, whose id is then no other's
        while len(self._frames) > _FRAMES:
            self._frames.popitem(last=False)
        return frame
