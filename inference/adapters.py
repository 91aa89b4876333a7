"""LoRA adapters in PEFT's format, merged into the weights as they are read: W + scale * B A (arXiv 2106.09685).

PEFT wraps the encoder's and the decoder's modules one by one, although their weights are shared. An adapter may so
change one side only, or each side in its own way; then the encoder gets a tensor of its own, under its own name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from inference.errors import EngineError
from inference.weight_files import read_header
from inference.weights import DECODER, ENCODER, VISION, Weights, encoder_name, shared_name

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_ROOT = "base_model.model."
_KEY = re.compile(r"(?P<module>.+?)(?P<nested>(\.base_layer)*)\.lora_(?P<half>[AB])(\.default)?\.weight")
_NOT_MERGED = (
    "fan_in_fan_out",
    "use_dora",
    "use_qalora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "megatron_config",
)
_STARTS_THAT_LEAVE_THE_BASE = (None, True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class LowRank:
    """``scale * b @ a``: ``a`` (r, in), ``b`` (out, r); of E experts ``a`` (E * r, in), ``b`` (out, r * E)."""

    a: Tensor
    b: Tensor
    scale: float

    def added_to(self, weight: Tensor) -> Tensor:
        """``weight`` (out, in) or (E, out, in) with the change, summed in float32, in its own dtype."""
        a, b = self.a.to(weight.device, torch.float32), self.b.to(weight.device, torch.float32)
        if weight.ndim == 2:
            return torch.addmm(weight.float(), b, a, alpha=self.scale).to(weight.dtype)
        merged, (experts, out, columns) = torch.empty_like(weight), weight.shape
        rank = a.shape[0] // experts
        for expert in range(experts):  # one at a time: a stack of experts in float32 would be gigabytes
            low, high = b.view(out, rank, experts)[:, :, expert], a.view(experts, rank, columns)[expert]
            merged[expert] = torch.addmm(weight[expert].float(), low, high, alpha=self.scale)
        return merged

    def equals(self, other: LowRank) -> bool:
        """Whether it is the same change, number by number."""
        return self.scale == other.scale and torch.equal(self.a, other.a) and torch.equal(self.b, other.b)


class AdaptedWeights(Mapping[str, Tensor]):
    """``weights`` with the adapter in ``folder`` merged in.

    ``own`` names the encoder's weights that differ from the decoder's; they are here besides the shared names.
    Raises :class:`EngineError` for an adapter that is damaged, of another kind, or for another model.
    """

    def __init__(self, weights: Mapping[str, Tensor], stored: Weights, folder: Path) -> None:
        self._weights = weights
        encoder, decoder = _changes(folder, stored)
        self._changes = decoder
        self.own = frozenset(
            encoder_name(name) for name in encoder.keys() | decoder.keys() if _differs(name, encoder, decoder)
        )
        self._encoder = encoder

    def __getitem__(self, name: str) -> Tensor:
        """Read a tensor; merged, it is a copy."""
        shared = shared_name(name)
        change = (self._encoder if name in self.own else self._changes).get(shared)
        if name != shared and name not in self.own:
            raise KeyError(name)
        weight = self._weights[shared]
        return weight if change is None else change.added_to(weight)

    def __iter__(self) -> Iterator[str]:
        yield from self._weights
        yield from self.own

    def __len__(self) -> int:
        return len(self._weights) + len(self.own)

    def __contains__(self, name: object) -> bool:
        return name in self._weights or name in self.own


def _differs(name: str, encoder: Mapping[str, LowRank], decoder: Mapping[str, LowRank]) -> bool:
    if not name.startswith(f"{DECODER}layers."):  # the output projection, the self-conditioning: no encoder runs them
        return False
    ours, theirs = encoder.get(name), decoder.get(name)
    return ours is None or theirs is None or not ours.equals(theirs)


def _changes(folder: Path, stored: Weights) -> tuple[dict[str, LowRank], dict[str, LowRank]]:
    """The encoder's and the decoder's changes, under the weights' shared names."""
    config = _config(folder)
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, tensor in _tensors(folder).items():
        match = _KEY.fullmatch(key.removeprefix(_ROOT))
        if match is None:
            raise EngineError(f"{folder / WEIGHTS} holds {key}, which is no LoRA of a linear layer or of experts")
        halves.setdefault((match["module"], match["nested"]), {})[match["half"]] = tensor
    encoder: dict[str, LowRank] = {}
    decoder: dict[str, LowRank] = {}
    for (module, _), pair in halves.items():
        if module.startswith(VISION):
            continue  # nothing here looks at images
        if pair.keys() != {"A", "B"}:
            raise EngineError(f"{folder / WEIGHTS} lacks one half of {module}; save the adapter again")
        name = _target(module, pair["A"], pair["B"], stored, folder)
        experts = math.prod(stored.stored(name).shape[:-2])
        called = module if name.endswith(".weight") else f"{module}.{name.rpartition('.')[2]}"
        try:
            rank, scale = _rank_and_scale(called, config)
        except (ValueError, TypeError, AttributeError, ZeroDivisionError, re.error) as error:
            raise EngineError(
                f"{folder / CONFIG} has a pattern of ranks or alphas that cannot be used ({error})"
            ) from error
        if pair["A"].shape[0] != rank * experts:
            raise EngineError(f"{folder / CONFIG} gives {module} another rank than {WEIGHTS}; save the adapter again")
        side = encoder if module.startswith(ENCODER) else decoder
        side[name] = LowRank(pair["A"], pair["B"], scale)
    if not encoder and not decoder:
        raise EngineError(f"{folder / WEIGHTS} changes nothing in the text model; name another adapter")
    return encoder, decoder


def _target(module: str, a: Tensor, b: Tensor, stored: Weights, folder: Path) -> str:
    """The shared name of the weight that ``a`` and ``b`` belong to: a layer's, or of a module of experts the one that
    fits: PEFT nests its wrappers there and names no parameter."""
    if module in ("lm_head", f"{DECODER}embed_tokens"):
        raise EngineError(f"{folder} changes the vocabulary's weights ({module}), which is not supported; leave it out")
    shared = shared_name(module)
    own = f"{shared}.weight"
    candidates = [own] if own in stored else [name for name in stored if name.startswith(f"{shared}.")]
    if not candidates:
        raise EngineError(f"{folder} changes {module}, which this model does not have; it belongs to another model")
    for name in candidates:
        shape = stored.stored(name).shape
        flat = len(shape) in (2, 3) and a.ndim == b.ndim == 2
        if flat and (b.shape[0], a.shape[1]) == shape[-2:] and a.shape[0] == b.shape[1]:
            return name
    shapes = " and ".join(str(list(stored.stored(name).shape)) for name in candidates)
    raise EngineError(
        f"{folder} was made for another shape of model: {module} is {shapes} here, "
        f"its A {list(a.shape)}, its B {list(b.shape)}"
    )


def _rank_and_scale(module: str, config: Mapping[str, Any]) -> tuple[int, float]:
    rank = int(_by_pattern(module, config.get("rank_pattern"), config.get("r")))
    alpha = float(_by_pattern(module, config.get("alpha_pattern"), config.get("lora_alpha")))
    return rank, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(module: str, patterns: Mapping[str, Any] | None, default: Any) -> Any:
    """The value of the first pattern that the end of the module's name matches, as PEFT has it."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EngineError(f"{path} is missing; --adapter takes the folder of a PEFT adapter") from None
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read as JSON ({error}); save the adapter again") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise EngineError(f"{path} describes {kind}; only LoRA adapters (peft_type LORA) are supported")
    asked = [name for name in _NOT_MERGED if config.get(name)]
    if config.get("bias", "none") != "none":
        asked.append("bias")
    if config.get("init_lora_weights") not in _STARTS_THAT_LEAVE_THE_BASE:
        asked.append("init_lora_weights")  # such a start changes the base, and the file is relative to that one
    if asked:
        raise EngineError(f"{path} asks for {', '.join(asked)}, which is not supported; merge the adapter with PEFT")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
        raise EngineError(f"{path} has no rank (r) and lora_alpha that can be used; save the adapter again")
    return config


def _tensors(folder: Path) -> dict[str, Tensor]:
    file = folder / WEIGHTS
    if not file.is_file():
        pickle = folder / "adapter_model.bin"
        if pickle.is_file():
            raise EngineError(f"{pickle} is a pickle, which can run code; save the adapter as safetensors")
        raise EngineError(f"{file} is missing; save the adapter again")
    read_header(file)
    return dict(load_file(file))
