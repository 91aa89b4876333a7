"""LoRA adapters in PEFT's format, written by hand."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from inference.adapters import AdaptedWeights
from inference.weights import DECODER, encoder_name


def halves(module: str, out: int, columns: int, rank: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """A and B of one module, random."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{module}.lora_A.weight": torch.randn(rank, columns, generator=generator),
        f"{module}.lora_B.weight": torch.randn(out, rank, generator=generator),
    }


def write_adapter(folder: Path, tensors: dict[str, Tensor], **config: object) -> Path:
    """Write rank 2, alpha 6, unless ``config`` says otherwise."""
    folder.mkdir(exist_ok=True)
    given = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"], "bias": "none"} | config
    (folder / "adapter_config.json").write_text(json.dumps(given))
    named = {f"base_model.model.{name}": value for name, value in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    return folder


def put_into(model: nn.Module, weights: AdaptedWeights) -> None:
    """Give transformers' model the changed weights of its layers; where they differ, each side its own."""
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for name in [name for name in every if name.startswith(f"{DECODER}layers.")]:
        _set(model, name, weights[name])
        theirs = encoder_name(name)
        _set(model, theirs, weights[theirs if theirs in weights.own else name])


def _set(model: nn.Module, name: str, value: Tensor) -> None:
    module, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(module), leaf, nn.Parameter(value, requires_grad=False))
