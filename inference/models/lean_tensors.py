"""The tensors of a checkpoint as the lean model reads them: which there are, and under whose name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.errors import EngineError
from inference.models.text_config import TextConfig

DECODER = "model.decoder."
ENCODER = "model.encoder.language_model."


@dataclass
class LeanTensors:
    """``weights``, which carry transformers' names, read one by one onto ``device``.

    Encoder and decoder share what a checkpoint has under one name, whichever of the two; under both names each side
    has its own. Raises :class:`EngineError` that names a missing tensor, or one of another shape.
    """

    config: TextConfig
    weights: Mapping[str, Tensor]
    device: torch.device
    dtype: torch.dtype
    report: Callable[[float, str], None]
    _read: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._shapes = tensor_shapes(self.config)
        for name, shape in self._shapes.items():
            if not self.names(name):
                raise EngineError(_lacking(DECODER + name, shape))
        counted = (math.prod(shape) * len({*self.names(name)}) for name, shape in self._shapes.items())
        self._total = sum(counted)

    def names(self, name: str) -> tuple[str, ...]:
        """Under which names the weights have a tensor, the decoder's first."""
        return tuple(there for there in (DECODER + name, ENCODER + name) if there in self.weights)

    def take(self, name: str, there: str | None = None) -> Tensor:
        """Read a tensor, the decoder's unless ``there`` is another of its :meth:`names`; a copy, the caller's to
        change."""
        shape, there = self._shapes[name], there or self.names(name)[0]
        found = self.weights[there]
        if found.shape != shape:
            raise EngineError(_lacking(there, shape))
        self._read += found.numel()
        self.report(min(1.0, self._read / self._total), f"loading {there}")
        return found.to(self.device, self.dtype, copy=True)


def tensor_shapes(config: TextConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor that the decoder needs, which the encoder does too, under transformers' names."""
    hidden, dense, expert, experts = config.hidden_size, config.intermediate_size, config.expert_size, config.experts
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (config.vocab_size, hidden),
        "norm.weight": (hidden,),
        "self_conditioning.pre_norm.weight": (hidden,),
        "self_conditioning.gate_proj.weight": (dense, hidden),
        "self_conditioning.up_proj.weight": (dense, hidden),
        "self_conditioning.down_proj.weight": (hidden, dense),
    }
    for index, layer in enumerate(config.layers):
        width, narrow = layer.heads * layer.head_dim, layer.kv_heads * layer.head_dim
        some: dict[str, tuple[int, ...]] = {}
        if not layer.full:
            some["self_attn.v_proj.weight"] = (narrow, hidden)
        if experts > 1:  # a single one is always chosen
            some |= {"router.proj.weight": (experts, hidden), "router.scale": (hidden,)}
        named: dict[str, tuple[int, ...]] = {
            "self_attn.q_proj.weight": (width, hidden),
            "self_attn.k_proj.weight": (narrow, hidden),
            "self_attn.o_proj.weight": (hidden, width),
            "self_attn.q_norm.weight": (layer.head_dim,),
            "self_attn.k_norm.weight": (layer.head_dim,),
            "mlp.gate_proj.weight": (dense, hidden),
            "mlp.up_proj.weight": (dense, hidden),
            "mlp.down_proj.weight": (hidden, dense),
            "router.per_expert_scale": (experts,),
            "experts.gate_up_proj": (experts, 2 * expert, hidden),
            "experts.down_proj": (experts, hidden, expert),
            "input_layernorm.weight": (hidden,),
            "post_attention_layernorm.weight": (hidden,),
            "pre_feedforward_layernorm.weight": (hidden,),
            "pre_feedforward_layernorm_2.weight": (hidden,),
            "post_feedforward_layernorm.weight": (hidden,),
            "post_feedforward_layernorm_1.weight": (hidden,),
            "post_feedforward_layernorm_2.weight": (hidden,),
            "layer_scalar": (1,),
        }
        shapes |= {f"layers.{index}.{name}": shape for name, shape in (named | some).items()}
    return shapes


def _lacking(name: str, shape: tuple[int, ...]) -> str:
    return (
        f"the weights lack {name} in the shape {list(shape)} that config.json asks for; download the checkpoint again"
    )
