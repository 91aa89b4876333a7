"""DiffusionGemma as transformers runs it, behind the :class:`~inference.models.base.Denoiser` Protocol."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers.cache_utils import DynamicCache, DynamicSlidingWindowLayer
from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion
from transformers.utils import logging

from inference.errors import EngineError


class DiffusionGemmaDenoiser:
    """Encoder and decoder share their weights; the decoder reads the encoder's keys and values and adds none.

    A canvas of any length follows the prompt at the positions P, P + 1, ...; in sliding layers all of it sees the last
    ``sliding_window - 1`` prompt tokens, as transformers has it. A prompt keeps all keys and values in sliding layers
    too, so that it can be cut anywhere; the window is applied when they are read.
    """

    def __init__(self, model: DiffusionGemmaForBlockDiffusion) -> None:
        self._model = model.eval()

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""
        return int(self._model.config.text_config.vocab_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self._model.device)

    @torch.inference_mode()
    def encode(self, prompt_ids: torch.Tensor, past: DynamicCache | None = None, shared: int = 0) -> DynamicCache:
        """Encode ``prompt_ids`` (B, P) int64, P at least 1, from token ``shared`` on; see :class:`Denoiser`.

        One row serves canvases of any number of rows.
        """
        if past is not None and shared:
            cache = _cut(past, shared)
        else:
            cache, shared = DynamicCache(config=self._model.config.text_config), 0
            for layer in cache.layers:
                if isinstance(layer, DynamicSlidingWindowLayer):
                    layer.activate_past_recording()  # else it forgets what leaves the window
        if shared < prompt_ids.shape[1]:
            self._model.model.encoder.language_model(input_ids=prompt_ids[:, shared:], past_key_values=cache)
        return cache

    def size_bytes(self, prompt: DynamicCache) -> int:
        """Bytes of all keys and values."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in prompt.layers)

    @torch.inference_mode()
    def denoise(
        self,
        canvas_ids: torch.Tensor,
        prompt: DynamicCache,
        self_conditioning_logits: torch.Tensor | None,
    ) -> torch.Tensor:
        """One decoder forward over ``canvas_ids`` (B, C) -> logits (B, C, V) float32; see :class:`Denoiser`."""
        if self_conditioning_logits is not None:
            self_conditioning_logits = self_conditioning_logits.to(self._model.dtype)
        output = self._model(
            decoder_input_ids=canvas_ids,
            past_key_values=_as_read(prompt, canvas_ids.shape[0]),
            self_conditioning_logits=self_conditioning_logits,
        )
        logits: torch.Tensor = output.logits
        return logits


def load_diffusion_gemma(folder: Path, device: torch.device, dtype: torch.dtype) -> DiffusionGemmaDenoiser:
    """Load the safetensors weights of ``folder`` onto ``device``.

    Raises :class:`EngineError` when a parameter is missing or has another shape: transformers would fill it with
    random numbers.
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its table of missing parameters; the sentence below says it
    model, loading = DiffusionGemmaForBlockDiffusion.from_pretrained(
        folder,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # reported below in one sentence, with the missing ones
        output_loading_info=True,
        generation_config=DiffusionGemmaGenerationConfig(),  # that file is ours to read
    )
    unusable = sorted({*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])})
    if unusable:
        others = f" and {len(unusable) - 1} more" if len(unusable) > 1 else ""
        raise EngineError(
            f"the weights in {folder} lack {unusable[0]}{others} in the shape that config.json asks for; "
            "download the checkpoint again"
        )
    return DiffusionGemmaDenoiser(model.to(device))


def _cut(prompt: DynamicCache, length: int) -> DynamicCache:
    """A view of the first ``length`` tokens, to which new ones can be appended; ``prompt`` stays as it is."""
    view = _copied(prompt)
    for layer in view.layers:
        layer.keys, layer.values = layer.keys[:, :, :length], layer.values[:, :, :length]
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length = length
    return view


def _as_read(prompt: DynamicCache, rows: int) -> DynamicCache:
    """A view of what the decoder sees, as ``rows`` equal rows if there is one; ``prompt`` stays as it is."""
    view = _copied(prompt)
    for layer in view.layers:
        if isinstance(layer, DynamicSlidingWindowLayer):
            seen = layer.sliding_window - 1
            layer.keys, layer.values = layer.keys[:, :, -seen:], layer.values[:, :, -seen:]
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return view


def _copied(prompt: DynamicCache) -> DynamicCache:
    """Its own layer objects over the same keys and values."""
    view = copy.copy(prompt)
    view.layers = [copy.copy(layer) for layer in prompt.layers]
    return view
