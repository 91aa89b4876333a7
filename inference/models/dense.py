"""DiffusionGemma's text architecture with one expert, written plainly: for training, and to hold `lean.py` against.

The same weights run in two modes: a causal encoder that reads the prompt into keys and values, and a bidirectional
decoder that sees those and a whole canvas. Weights carry the names that transformers uses. Letters in shapes: B
batch, N new tokens, P prompt tokens, C canvas tokens, D hidden size, H query heads, G key/value heads, E head size,
V vocabulary.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from inference.models.dense_blocks import Layer, Mask, RMSNorm, SelfConditioning, rms_normalize
from inference.models.text_config import TextConfig

PREFIX = "model.decoder."
ENCODER_LAYERS = "model.encoder.language_model.layers."
KeyValues = list[tuple[Tensor, Tensor]]
"""Keys and values of every layer, each (B, G, P, E), never cropped: windows are applied when they are read."""


@dataclass(frozen=True)
class DenseConfig:
    """The part of `config.json`'s `text_config` that shapes the model; `full` marks the layers without window."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    expert_size: int
    heads: int
    kv_heads: int
    full_kv_heads: int
    head_dim: int
    full_head_dim: int
    full: tuple[bool, ...]
    window: int
    epsilon: float
    softcap: float
    theta: float
    full_theta: float
    full_rotary_share: float

    @classmethod
    def from_text_config(cls, text: Mapping[str, Any]) -> "DenseConfig":
        """Read transformers' `DiffusionGemmaTextConfig` as a dictionary; more than one expert is a `ValueError`."""
        if text["num_experts"] != 1 or text["top_k_experts"] != 1:
            raise ValueError("the dense model runs checkpoints with exactly one expert")
        config = TextConfig.from_mapping(text)
        of_kind = {layer.full: layer for layer in config.layers}
        full_layer, sliding = of_kind[True], of_kind.get(False, of_kind[True])
        return cls(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            expert_size=config.expert_size,
            heads=sliding.heads,
            kv_heads=sliding.kv_heads,
            full_kv_heads=full_layer.kv_heads,
            head_dim=sliding.head_dim,
            full_head_dim=full_layer.head_dim,
            full=tuple(layer.full for layer in config.layers),
            window=config.window,
            epsilon=config.epsilon,
            softcap=config.softcap,
            theta=config.theta,
            full_theta=config.full_theta,
            full_rotary_share=config.full_rotary_share,
        )

    @classmethod
    def load(cls, folder: Path) -> "DenseConfig":
        """Read the `config.json` of a checkpoint folder."""
        return cls.from_text_config(json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_config"])


class DenseDiffusionGemma(nn.Module):
    """Causal encoder and bidirectional canvas decoder over one set of weights."""

    _sliding_frequencies: Tensor
    _full_frequencies: Tensor

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            Layer(
                hidden_size=config.hidden_size,
                intermediate_size=config.intermediate_size,
                expert_size=config.expert_size,
                heads=config.heads,
                kv_heads=config.full_kv_heads if full else config.kv_heads,
                head_dim=config.full_head_dim if full else config.head_dim,
                shares_value=full,
                epsilon=config.epsilon,
            )
            for full in config.full
        )
        self.norm = RMSNorm(config.hidden_size, config.epsilon)
        self.self_conditioning = SelfConditioning(config.hidden_size, config.intermediate_size, config.epsilon)
        sliding = torch.arange(0, config.head_dim, 2).float() / config.head_dim
        self.register_buffer("_sliding_frequencies", config.theta**-sliding, persistent=False)
        rotated = torch.arange(0, 2 * int(config.full_rotary_share * config.full_head_dim // 2), 2).float()
        frequencies = torch.zeros(config.full_head_dim // 2)
        frequencies[: len(rotated)] = config.full_theta ** -(rotated / config.full_head_dim)
        self.register_buffer("_full_frequencies", frequencies, persistent=False)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "DenseDiffusionGemma":
        """The model of a checkpoint folder (`config.json`, `model.safetensors`), ready for inference."""
        model = cls(DenseConfig.load(folder))
        model.load_checkpoint(load_file(folder / "model.safetensors"))
        return model.to(dtype).eval()

    def load_checkpoint(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of a checkpoint under transformers' names; a missing one is a `KeyError`."""
        names = {name: name for name in self.state_dict()}
        for index in range(len(self.layers)):
            scalar = f"{index}.layer_scalar"
            if ENCODER_LAYERS + scalar in tensors:
                names[f"layers.{index}.encoder_scalar"] = ENCODER_LAYERS + scalar
            else:
                names[f"layers.{index}.encoder_scalar"] = f"layers.{scalar}"
        self.load_state_dict(
            {name: tensors[there if there in tensors else PREFIX + there] for name, there in names.items()}
        )

    def checkpoint(self) -> dict[str, Tensor]:
        """The weights under transformers' names (the encoder's copies are tied and left out)."""
        state = {name: tensor.detach() for name, tensor in self.state_dict().items()}
        scalars = {name: tensor for name, tensor in state.items() if name.endswith(".encoder_scalar")}
        tensors = {PREFIX + name: tensor for name, tensor in state.items() if name not in scalars}
        for name, tensor in scalars.items():
            tensors[ENCODER_LAYERS + name.split(".")[1] + ".layer_scalar"] = tensor
        return tensors

    @property
    def embedding_scale(self) -> float:
        """Input embeddings are multiplied by the square root of the hidden size."""
        return math.sqrt(self.config.hidden_size)

    def encode(self, token_ids: Tensor, kv: KeyValues | None = None) -> KeyValues:
        """Read more prompt: `token_ids` (B, N) after the P tokens of `kv`; returns all P + N, `kv` unchanged."""
        return self.encode_hidden(token_ids, kv)[1]

    def encode_hidden(self, token_ids: Tensor, kv: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        """As `encode`, with the normalised hidden states (B, N, D) for the autoregressive loss."""
        past, new = _length(kv), token_ids.shape[1]
        positions = torch.arange(past, past + new, device=token_ids.device)
        distance = positions[:, None] - torch.arange(past + new, device=token_ids.device)  # (N, P + N)
        visible = distance >= 0
        near = (visible & (distance < self.config.window))[:, -(self.config.window - 1 + new) :]
        masks = _additive(near, self.dtype), _additive(visible, self.dtype)
        hidden = self.embed_tokens(token_ids) * self.embedding_scale
        return self.run(hidden, positions[None], kv, masks, encoding=True)

    def score(self, token_ids: Tensor, kv: KeyValues | None = None) -> Tensor:
        """Log p (B, N - 1) of each of `token_ids` (B, N) but the first, given those before and the P tokens of `kv`."""
        hidden, _ = self.encode_hidden(token_ids, kv)
        return self.logits(hidden[:, :-1]).log_softmax(-1).gather(-1, token_ids[:, 1:, None]).squeeze(-1)

    def decode(self, canvas_ids: Tensor, kv: KeyValues, self_conditioning_logits: Tensor | None = None) -> Tensor:
        """One denoising pass: `canvas_ids` (B, C) after the P tokens of `kv` -> soft-capped fp32 logits (B, C, V).

        `self_conditioning_logits` (B, C, V) are the temperature-scaled logits of the step before, None at the first.
        A sliding layer sees the last window - 1 prompt tokens and, as every layer, the whole canvas.
        """
        soft = None if self_conditioning_logits is None else self.soft_embeddings(self_conditioning_logits)
        past = kv[0][0].shape[2]
        positions = torch.arange(past, past + canvas_ids.shape[1], device=canvas_ids.device)[None]
        seen = [
            (keys, values)
            if full
            else (keys[:, :, -(self.config.window - 1) :], values[:, :, -(self.config.window - 1) :])
            for (keys, values), full in zip(kv, self.config.full, strict=True)
        ]
        return self.logits(self.decode_hidden(canvas_ids, seen, positions, None, soft))

    def decode_hidden(
        self, canvas_ids: Tensor, kv: KeyValues, positions: Tensor, mask: Mask, soft: Tensor | None
    ) -> Tensor:
        """Normalised hidden states (B, C, D) of a canvas at `positions` (B or 1, C), for training.

        `mask` (B, 1, C, P + C) is additive (several canvases may lie side by side, apart in the mask); `soft`
        (B, C, D) are soft embeddings of the step before. `kv` is read as it is: no window is applied.
        """
        embedded = self.self_conditioning(self.embed_tokens(canvas_ids) * self.embedding_scale, soft)
        return self.run(embedded, positions, kv, (mask, mask), encoding=False)[0]

    def soft_embeddings(self, logits: Tensor) -> Tensor:
        """Expected input embeddings (B, C, D) under `logits` (B, C, V)."""
        weight = self.embed_tokens.weight
        return (logits.softmax(-1, dtype=torch.float32).to(weight.dtype) @ weight) * self.embedding_scale

    def logits(self, hidden: Tensor) -> Tensor:
        """Soft-capped fp32 logits (B, N, V) of normalised hidden states (B, N, D)."""
        raw = functional.linear(hidden, self.embed_tokens.weight).float()
        return torch.tanh(raw / self.config.softcap) * self.config.softcap

    @property
    def dtype(self) -> torch.dtype:
        """The number format of weights and activations."""
        return self.embed_tokens.weight.dtype

    def run(
        self,
        hidden: Tensor,
        positions: Tensor,
        kv: KeyValues | None,
        masks: tuple[Mask, Mask],
        encoding: bool,
    ) -> tuple[Tensor, KeyValues]:
        """All layers and the last norm; `masks` are additive: of sliding layers, of full layers."""
        rotary = (
            _rotary(positions, self._sliding_frequencies, hidden.dtype),
            _rotary(positions, self._full_frequencies, hidden.dtype),
        )
        grown: KeyValues = []
        for index, (layer, full) in enumerate(zip(self.layers, self.config.full, strict=True)):
            past = kv[index] if kv else None
            hidden, keys, values = layer(hidden, rotary[full], past, masks[full], encoding)
            grown.append((keys, values))
        return self.norm(hidden), grown


def _length(kv: KeyValues | None) -> int:
    """How many tokens `kv` holds."""
    return kv[0][0].shape[2] if kv else 0


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where `visible`, minus infinity elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, -math.inf)


def _rotary(positions: Tensor, frequencies: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine (B, N, 1, E) of rotary position embeddings (arXiv 2104.09864)."""
    angles = positions[..., None].float() * frequencies.float()
    angles = torch.cat((angles, angles), dim=-1)[:, :, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


__all__: Sequence[str] = ["DenseConfig", "DenseDiffusionGemma", "KeyValues", "rms_normalize"]
