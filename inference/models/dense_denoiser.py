"""The dense model behind the :class:`~inference.models.base.Denoiser` Protocol; starts without transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.errors import EngineError
from inference.models.dense import DenseConfig, DenseDiffusionGemma
from inference.models.room import Room


@dataclass(frozen=True)
class DensePrompt:
    """The first ``length`` positions of one room per layer; rooms may be shared with longer prompts."""

    rooms: tuple[Room, ...]
    length: int


class DenseDenoiser:
    """Runs checkpoints with one expert. A canvas of any length follows the prompt at the positions P, P + 1, ..."""

    def __init__(self, model: DenseDiffusionGemma) -> None:
        self._model = model.eval()

    @classmethod
    def can_run(cls, folder: Path, config: Mapping[str, Any]) -> bool:
        """Whether ``config`` (config.json) is one expert, spelt out, with its weights in one file."""
        try:
            DenseConfig.from_text_config(config["text_config"])
        except (KeyError, ValueError):
            return False
        return (folder / "model.safetensors").is_file()

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> DenseDenoiser:
        """Load the weights of ``folder``. Raises :class:`EngineError` when one is missing or has another shape."""
        try:
            model = DenseDiffusionGemma.load(folder, dtype)
        except (KeyError, RuntimeError) as error:
            what = str(error).strip().splitlines()[-1].strip()
            raise EngineError(
                f"the weights in {folder} lack {what} in the shape that config.json asks for; "
                "download the checkpoint again"
            ) from error
        return cls(model.to(device))

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""
        return self._model.config.vocab_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._model.embed_tokens.weight.device

    @torch.inference_mode()
    def encode(self, prompt_ids: torch.Tensor, past: DensePrompt | None = None, shared: int = 0) -> DensePrompt:
        """Encode ``prompt_ids`` (B, P) int64, P at least 1, from token ``shared`` on; see :class:`Denoiser`.

        One row serves canvases of any number of rows.
        """
        length = prompt_ids.shape[1]
        if past is None or not shared:
            kv = self._model.encode(prompt_ids)
            return DensePrompt(tuple(Room(keys, values, length) for keys, values in kv), length)
        if shared == length:
            return DensePrompt(past.rooms, length)
        rooms = tuple(room.from_position(shared, length - shared) for room in past.rooms)
        self._model.encode(prompt_ids[:, shared:], rooms)
        return DensePrompt(rooms, length)

    def size_bytes(self, prompt: DensePrompt) -> int:
        """Bytes of the rooms, their unused part included."""
        return sum(room.size_bytes for room in prompt.rooms)

    @torch.inference_mode()
    def denoise(
        self,
        canvas_ids: torch.Tensor,
        prompt: DensePrompt,
        self_conditioning_logits: torch.Tensor | None,
    ) -> torch.Tensor:
        """One decoder forward over ``canvas_ids`` (B, C) -> logits (B, C, V) float32; see :class:`Denoiser`."""
        rows = canvas_ids.shape[0]
        kv = [room.first(prompt.length) for room in prompt.rooms]
        shared = [(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in kv]
        return self._model.decode(canvas_ids, shared, self_conditioning_logits)
