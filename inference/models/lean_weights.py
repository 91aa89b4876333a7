"""From a checkpoint's tensors to the lean model: folded on the device where they stay, one layer after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from inference.models.attention import Frequencies
from inference.models.feed_forward import Experts, FeedForward, ManyExperts, OneExpert
from inference.models.grouped import grouped
from inference.models.lean import LeanModel
from inference.models.lean_layer import LeanLayer
from inference.models.lean_tensors import LeanTensors
from inference.models.linear import Linear, gated_linear, linear
from inference.models.normalizer import Normalizer
from inference.models.text_config import LayerShape

_PACKED_TWICE = 2**24
"""A table of embeddings up to this many numbers is kept transposed too, where that makes its product faster."""
_Part = TypeVar("_Part")


def build(tensors: LeanTensors, *, fp8: bool = False) -> LeanModel:
    """Read every tensor; ``fp8`` for what is large but embeddings.

    Encoder and decoder share each product whose tensors they share: an ordinary checkpoint is in memory once.
    """
    config = tensors.config
    normalizer = Normalizer(config.epsilon, tensors.device)
    table = tensors.take("embed_tokens.weight")
    layers, encoder_layers = list[LeanLayer](), list[LeanLayer]()
    for index, shape in enumerate(config.layers):
        decoder = LayerBuilder(tensors, f"layers.{index}.", shape, normalizer, fp8)
        layers.append(decoder.build())
        encoder = LayerBuilder(tensors, f"layers.{index}.", shape, normalizer, fp8, True, decoder.parts)
        encoder_layers.append(encoder.build())
    signal_norm = tensors.take("self_conditioning.pre_norm.weight")
    gates, ups = (tensors.take(f"self_conditioning.{name}_proj.weight").mul_(signal_norm) for name in ("gate", "up"))
    return LeanModel(
        config=config,
        normalizer=normalizer,
        frequencies=Frequencies.of(config, tensors.device),
        layers=layers,
        encoder_layers=encoder_layers,
        table=table,
        logits_of=linear(table),
        expectation_of=_expectation(table),
        conditioning_inner=gated_linear(gates, ups, fp8=fp8),
        conditioning_down=linear(tensors.take("self_conditioning.down_proj.weight"), fp8=fp8),
        norm=tensors.take("norm.weight"),
    )


@dataclass(frozen=True)
class LayerBuilder:
    """One layer as one side has it. ``parts`` are those made so far, for either side, by the tensors' names there."""

    tensors: LeanTensors
    at: str
    shape: LayerShape
    normalizer: Normalizer
    fp8: bool
    encoding: bool = False
    parts: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def build(self) -> LeanLayer:
        """Read what is not in ``parts`` yet."""
        projections = [f"self_attn.{name}_proj.weight" for name in ("qk" if self.shape.full else "qkv")]
        return LeanLayer(
            shape=self.shape,
            normalizer=self.normalizer,
            queries_keys_values=self._part(self._after_norm, "input_layernorm.weight", *projections),
            output=self._part(self._bounded, "self_attn.o_proj.weight"),
            feed_forward=self._one_expert() if self.tensors.config.experts == 1 else self._many_experts(),
            head_scale=self._part(self._head_scale, "self_attn.q_norm.weight", "self_attn.k_norm.weight"),
            post_attention=self._part(_itself, "post_attention_layernorm.weight"),
            post_feed_forward=self._part(_itself, "post_feedforward_layernorm.weight"),
            scalar=self._part(float, "layer_scalar"),
        )

    def _one_expert(self) -> FeedForward:
        inner = (
            "pre_feedforward_layernorm.weight",
            "mlp.gate_proj.weight",
            "mlp.up_proj.weight",
            "pre_feedforward_layernorm_2.weight",
            "experts.gate_up_proj",
        )
        return OneExpert(
            normalizer=self.normalizer,
            inner=self._part(self._both_gated, *inner),
            down=self._part(self._linear, "mlp.down_proj.weight"),
            expert_down=self._part(
                lambda down, scale: self._linear(down[0].mul_(scale)),
                "experts.down_proj",
                "router.per_expert_scale",
            ),
            dense_size=self.tensors.config.intermediate_size,
            weight_1=self._part(_itself, "post_feedforward_layernorm_1.weight"),
            weight_2=self._part(_itself, "post_feedforward_layernorm_2.weight"),
        )

    def _many_experts(self) -> FeedForward:
        config, fp8 = self.tensors.config, self.fp8
        inner = "pre_feedforward_layernorm.weight", "mlp.gate_proj.weight", "mlp.up_proj.weight"
        return ManyExperts(
            normalizer=self.normalizer,
            inner=self._part(self._gated, *inner),
            down=self._part(self._linear, "mlp.down_proj.weight"),
            router=self._part(
                lambda weight, scale: linear(weight.mul_(scale).mul_(1 / math.sqrt(config.hidden_size))),
                "router.proj.weight",
                "router.scale",
            ),
            experts=Experts(
                gate_up=self._part(
                    lambda norm, weight: grouped(weight.mul_(norm), fp8=fp8, bounded=True),
                    "pre_feedforward_layernorm_2.weight",
                    "experts.gate_up_proj",
                ),
                down=self._part(
                    lambda weight, scale: grouped(weight.mul_(scale[:, None, None]), fp8=fp8),
                    "experts.down_proj",
                    "router.per_expert_scale",
                ),
                numbers=torch.arange(config.experts, device=self.tensors.device),
                chosen=config.experts_per_token,
            ),
            weight_1=self._part(_itself, "post_feedforward_layernorm_1.weight"),
            weight_2=self._part(_itself, "post_feedforward_layernorm_2.weight"),
        )

    def _part(self, make: Callable[..., _Part], *names: str) -> _Part:
        """What ``make`` makes of the tensors of those names, which no other part is made of."""
        full_names = [self.at + name for name in names]
        side = -1 if self.encoding else 0
        there = tuple(self.tensors.names(name)[side] for name in full_names)
        if there not in self.parts:
            self.parts[there] = make(*map(self.tensors.take, full_names, there))
        part: _Part = self.parts[there]
        return part

    def _linear(self, weight: Tensor) -> Linear:
        return linear(weight, fp8=self.fp8)

    def _bounded(self, weight: Tensor) -> Linear:
        """The product of what was normalised, or of averages of that."""
        return linear(weight, fp8=self.fp8, bounded=True)

    def _after_norm(self, norm: Tensor, *projections: Tensor) -> Linear:
        """One product for several projections, with the norm (inputs,) before them."""
        return self._bounded(torch.cat(projections).mul_(norm))

    def _gated(self, norm: Tensor, gate: Tensor, up: Tensor) -> Linear:
        return gated_linear(gate.mul_(norm), up.mul_(norm), fp8=self.fp8)

    def _both_gated(self, norm: Tensor, gate: Tensor, up: Tensor, expert_norm: Tensor, expert: Tensor) -> Linear:
        """The dense half, then the expert's."""
        expert_gate, expert_up = expert[0].mul_(expert_norm).chunk(2)
        gates, ups = torch.cat((gate.mul_(norm), expert_gate)), torch.cat((up.mul_(norm), expert_up))
        return gated_linear(gates, ups, fp8=self.fp8)

    def _head_scale(self, queries: Tensor, keys: Tensor) -> Tensor:
        return torch.cat((queries.expand(self.shape.heads, -1), keys.expand(self.shape.kv_heads, -1)))


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _expectation(table: Tensor) -> Linear:
    if table.device.type == "cpu" and table.numel() <= _PACKED_TWICE:
        return linear(table.t())
    return lambda probabilities: probabilities @ table
