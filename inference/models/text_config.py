"""The part of ``config.json`` that shapes the model, read without transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LayerShape:
    """One layer's attention; ``full`` layers have no window, and their raw keys are their values."""

    full: bool
    heads: int
    kv_heads: int
    head_dim: int

    @property
    def projected_heads(self) -> int:
        """Heads that one product of the input must give: queries, keys and, unless shared, values."""
        return self.heads + self.kv_heads * (1 if self.full else 2)


@dataclass(frozen=True)
class TextConfig:
    """DiffusionGemma's text model, of any size; ``window`` counts the canvas's or query's own position too."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    experts: int
    experts_per_token: int
    expert_size: int
    layers: tuple[LayerShape, ...]
    window: int
    epsilon: float
    softcap: float
    theta: float
    full_theta: float
    full_rotary_share: float

    @classmethod
    def from_mapping(cls, text: Mapping[str, Any]) -> TextConfig:
        """Read transformers' ``DiffusionGemmaTextConfig`` as a dictionary.

        Raises :class:`KeyError` and :class:`ValueError` for what is missing or means another architecture.
        """
        _refuse_others(text)
        rope = text["rope_parameters"]
        return cls(
            vocab_size=text["vocab_size"],
            hidden_size=text["hidden_size"],
            intermediate_size=text["intermediate_size"],
            experts=text["num_experts"],
            experts_per_token=text["top_k_experts"],
            expert_size=text["moe_intermediate_size"],
            layers=tuple(_layer(text, index, kind) for index, kind in enumerate(text["layer_types"])),
            window=text["sliding_window"],
            epsilon=text["rms_norm_eps"],
            softcap=text.get("final_logit_softcapping", 30.0),
            theta=rope["sliding_attention"]["rope_theta"],
            full_theta=rope["full_attention"]["rope_theta"],
            full_rotary_share=rope["full_attention"].get("partial_rotary_factor", 1.0),
        )


def _layer(text: Mapping[str, Any], index: int, kind: str) -> LayerShape:
    """transformers writes what differs per layer; hand-written files say it of all full layers with ``global_*``."""
    full, written = kind == "full_attention", text.get("per_layer_config")
    head_dim, kv_heads = text["head_dim"], text["num_key_value_heads"]
    if full and written is None:
        head_dim = text.get("global_head_dim", 512)
        kv_heads = text.get("num_global_key_value_heads") or kv_heads
    overrides = (written or {}).get(str(index)) or (written or {}).get(index) or {}
    return LayerShape(
        full=full,
        heads=text["num_attention_heads"],
        kv_heads=overrides.get("num_key_value_heads") or kv_heads,
        head_dim=overrides.get("head_dim") or head_dim,
    )


def _refuse_others(text: Mapping[str, Any]) -> None:
    """Name what this model does not compute."""
    rope = text["rope_parameters"]
    expected = {
        "hidden_activation": (text.get("hidden_activation", "gelu_pytorch_tanh"), "gelu_pytorch_tanh"),
        "attention_bias": (text.get("attention_bias", False), False),
        "tie_word_embeddings": (text.get("tie_word_embeddings", True), True),
        "rope_type of sliding layers": (rope["sliding_attention"]["rope_type"], "default"),
        "rope_type of full layers": (rope["full_attention"]["rope_type"], "proportional"),
    }
    for name, (found, known) in expected.items():
        if found != known:
            raise ValueError(f"its {name} is {found!r}, and only {known!r} is supported")
    if text.get("use_bidirectional_attention") == "all":
        raise ValueError("its encoder is bidirectional, and only causal ones are supported")
