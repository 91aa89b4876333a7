"""DiffusionGemma of any shape with random weights, made where they stay: no copy on the host, none in float32."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from torch import nn
from transformers.models.diffusion_gemma.configuration_diffusion_gemma import (
    DiffusionGemmaConfig,
    DiffusionGemmaTextConfig,
)
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion
from transformers.models.gemma4.configuration_gemma4 import Gemma4VisionConfig

SHAPES = {path.stem.removeprefix("shape-"): path for path in sorted(Path(__file__).parent.glob("shape-*.json"))}
"""The shapes that come with the package, by name. ``26b-a4b`` is that of google/diffusiongemma-26B-A4B-it."""


def read_shape(name: str) -> DiffusionGemmaConfig:
    """Return the shape of that name, or that of a checkpoint's ``config.json``, with a vision tower of no weight.

    Raises :class:`OSError` and :class:`ValueError` when the file cannot be read or is not such a config.
    """
    content = json.loads(Path(SHAPES.get(name, name)).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("text_config"), dict):
        raise ValueError(f"{name} holds no 'text_config'")
    vision = Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
        position_embedding_size=16,
    )
    try:
        text = DiffusionGemmaTextConfig(**content["text_config"])
        canvas_length = int(content.get("canvas_length", 256))
        return DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=canvas_length)
    except Exception as error:  # transformers checks by exceptions of several libraries
        raise ValueError(" ".join(str(error).split())) from error


def random_model(
    config: DiffusionGemmaConfig, device: torch.device, dtype: torch.dtype, *, seed: int = 0
) -> DiffusionGemmaForBlockDiffusion:
    """Make a model of that shape, as transformers initialises one; encoder and decoder share their weights.

    Raises :class:`MemoryError` before anything is allocated when the device has too little left.
    """
    with torch.device("meta"):
        model = DiffusionGemmaForBlockDiffusion._from_config(config, dtype=dtype)
    refuse_without_room(sum(weight.nbytes for weight in model.parameters()), device)
    _allocate(model, device)
    torch.manual_seed(seed)
    with torch.no_grad():
        for part in (model.model.encoder.language_model, model.model.decoder):  # nobody looks at images here
            part.apply(model._init_weights)
    return model.eval()


def refuse_without_room(needed: int, device: torch.device) -> None:
    """Raise :class:`MemoryError` when ``device`` has fewer bytes left than ``needed``."""
    free = _free_bytes(device)
    if free is not None and needed > free:
        raise MemoryError(f"the weights need {needed / 1e9:.1f} GB, and {device} has {free / 1e9:.1f} GB left")


def _allocate(model: nn.Module, device: torch.device) -> None:
    """Give every weight its memory, once: ``to_empty`` would give each end of a tie its own."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter not in made:
                made[parameter] = nn.Parameter(torch.empty_like(parameter, device=device), requires_grad=False)
            setattr(module, name, made[parameter])
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.ones_like(buffer, device=device))


def _free_bytes(device: torch.device) -> int | None:
    """Memory left on ``device``; None where nobody says: there a process that takes too much is simply killed."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu" and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None
