"""DiffusionGemma as transformers runs it, behind the :class:`~inference.models.base.Denoiser` Protocol."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers.cache_utils import DynamicCache, DynamicSlidingWindowLayer
from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion
from transformers.utils import logging

from inference.errors import EngineError
from inference.models.padding import padded, visible_keys


@dataclass(frozen=True)
class SideBySide:
    """Prompts of several lengths as one cache: keys and values (B, G, P, E) end together, the window applied.

    ``lengths`` (B, 1) int64 are the prompts' own; ``masks`` (B, 1, 1, P) additive, by layer type, None where no row is
    padded.
    """

    cache: DynamicCache
    lengths: torch.Tensor
    masks: dict[str, torch.Tensor | None]


class DiffusionGemmaDenoiser:
    """Encoder and decoder share their weights; the decoder reads the encoder's keys and values and adds none.

    A canvas of any length follows the prompt at the positions P, P + 1, ...; in sliding layers all of it sees the last
    ``sliding_window - 1`` prompt tokens, as transformers has it. A prompt keeps all keys and values in sliding layers
    too, so that it can be cut anywhere; the window is applied when they are read.
    """

    def __init__(self, model: DiffusionGemmaForBlockDiffusion) -> None:
        self._model = model.eval()

    @property
    def model(self) -> DiffusionGemmaForBlockDiffusion:
        """The model itself."""
        return self._model

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
    def side_by_side(self, prompts: Sequence[DynamicCache]) -> SideBySide:
        """Pad the prompts on their left to one length; see :class:`Denoiser`."""
        views = [_as_read(prompt, 1) for prompt in prompts]
        cache, masks = _copied(views[0]), {}
        for index, (layer, kind) in enumerate(zip(cache.layers, self._text_config.layer_types, strict=True)):
            rows = [view.layers[index] for view in views]
            layer.keys, layer.values = padded([row.keys for row in rows]), padded([row.values for row in rows])
            masks[kind] = visible_keys([row.keys.shape[2] for row in rows], layer.keys)
        lengths = [[prompt.get_seq_length()] for prompt in prompts]
        return SideBySide(cache, torch.tensor(lengths, device=self.device), masks)

    @torch.inference_mode()
    def embeddings(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Scaled input embeddings of ``token_ids`` (...) int64, (..., D)."""
        embedded: torch.Tensor = self._decoder.embed_tokens(token_ids)
        return embedded

    @torch.inference_mode()
    def soft_embeddings(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Expected input embeddings (F, D) under ``probabilities`` (F, V)."""
        embedding = self._decoder.embed_tokens
        probabilities = probabilities.to(embedding.weight.dtype)
        expected: torch.Tensor = (probabilities @ embedding.weight) * embedding.embed_scale.to(probabilities.dtype)
        return expected

    @torch.inference_mode()
    def denoise(
        self,
        canvas_ids: torch.Tensor,
        prompt: DynamicCache | SideBySide,
        conditioning: torch.Tensor,
        free: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One decoder forward over ``canvas_ids`` (B, C) -> logits (F, V) float32; see :class:`Denoiser`."""
        rows, length = canvas_ids.shape
        if isinstance(prompt, SideBySide):
            masks = {kind: mask if mask is None else _open(mask, length) for kind, mask in prompt.masks.items()}
            cache, first = prompt.cache, prompt.lengths
        else:
            masks = dict.fromkeys(self._text_config.layer_types)
            cache = _as_read(prompt, rows)
            first = torch.full((1, 1), prompt.get_seq_length(), device=canvas_ids.device)
        conditioned = self._decoder.self_conditioning.register_forward_pre_hook(_with_signal(conditioning))
        try:
            output = self._decoder(
                decoder_input_ids=canvas_ids,
                past_key_values=cache,
                decoder_attention_mask=masks,
                decoder_position_ids=first + torch.arange(length, device=canvas_ids.device),
            )
        finally:
            conditioned.remove()
        hidden = output.last_hidden_state.flatten(0, 1)
        return self._logits(hidden if free is None else hidden[free])

    @torch.inference_mode()
    def score(self, rows: Sequence[Sequence[int]], prompt: DynamicCache, shared: int) -> list[list[float]]:
        """Log p of continuations under the causal encoder, padded on their right; see :class:`Denoiser`."""
        longest = max(map(len, rows))
        padded_rows = [[*row, *[0] * (longest - len(row))] for row in rows]
        token_ids = torch.tensor(padded_rows, device=self.device)
        encoder = self._model.model.encoder.language_model
        cache = DynamicCache(config=self._text_config)
        if shared:
            cache = _cut(prompt, shared)
            for layer in cache.layers:
                layer.keys, layer.values = (kv.expand(len(rows), -1, -1, -1) for kv in (layer.keys, layer.values))
        hidden = encoder(input_ids=token_ids, past_key_values=cache).last_hidden_state[:, :-1]
        found = self._logits(hidden).log_softmax(-1).gather(-1, token_ids[:, 1:, None]).squeeze(-1).tolist()
        return [log_probs[: len(row) - 1] for row, log_probs in zip(rows, found, strict=True)]

    def release(self) -> None:
        """Nothing is kept from one call to the next."""

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Soft-capped float32 logits (..., V) of normalised hidden states (..., D)."""
        softcap = self._text_config.final_logit_softcapping
        capped: torch.Tensor = torch.tanh(self._model.lm_head(hidden).float() / softcap) * softcap
        return capped

    @property
    def _decoder(self) -> Any:
        return self._model.model.decoder

    @property
    def _text_config(self) -> Any:
        return self._model.config.text_config


def _open(mask: torch.Tensor, length: int) -> torch.Tensor:
    """``mask`` (B, 1, 1, P) with a canvas behind that sees all of itself: (B, 1, C, P + C)."""
    return functional.pad(mask, (0, length)).expand(-1, -1, length, -1)


def _with_signal(conditioning: torch.Tensor) -> Callable[[Any, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]:
    """A hook that gives the self-conditioning module our signal in place of what it makes from a canvas of logits."""
    return lambda _, inputs: (inputs[0], conditioning)


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
            first = max(0, layer.keys.shape[2] - layer.sliding_window + 1)
            layer.keys, layer.values = layer.keys[:, :, first:], layer.values[:, :, first:]
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return view


def _copied(prompt: DynamicCache) -> DynamicCache:
    """Its own layer objects over the same keys and values."""
    view = copy.copy(prompt)
    view.layers = [copy.copy(layer) for layer in prompt.layers]
    return view
