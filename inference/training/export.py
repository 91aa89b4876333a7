"""Writes a run's averaged weights as a checkpoint folder that transformers loads unchanged."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.architecture import SMALL, Shape, dense_config, load_shape, text_config
from inference.training.checkpointing import STATE
from inference.training.denoise import Sampling
from inference.training.tokenizer import CONTROLS
from inference.training.train import initialize

CANVAS_LENGTH = 64  # of transformers' own generate, which knows no buckets
DEFAULT_FOLDER = Path(__file__).parents[1] / "default_model"
LAST_CONTROL = len(CONTROLS) - 1
VISION = {  # the class insists on a vision tower: the smallest one there is, with zero weights
    "model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16, "patch_size": 4, "position_embedding_size": 4,
}  # fmt: skip


def averages(run: Path) -> dict[str, Tensor]:
    """The moving average of the weights in a run's last state, in fp32."""
    prefix = "average/"
    state = load_file(run / STATE)
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def model_of(weights: Mapping[str, Tensor], vocabulary: int, shape: Shape) -> DenseDiffusionGemma:
    """A model with these weights, in fp32."""
    model = DenseDiffusionGemma(dense_config(vocabulary, shape))
    initialize(model, 0)  # for the router's weights, which decide nothing and are not trained
    left_out = model.load_state_dict(dict(weights), strict=False)
    untrained = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    scalars = [name for name, _ in model.named_buffers() if name.endswith("_scalar")]
    missing = sorted(set(left_out.missing_keys) - {*untrained, *scalars})
    if missing or left_out.unexpected_keys:
        raise ValueError(f"the weights are not of the shape '{shape.name}': {[*missing, *left_out.unexpected_keys][0]}")
    return model.eval()


def export(run: Path, folder: Path, spec: InfillSpec, sampling: Sampling) -> None:
    """Write the averaged weights of a run as a checkpoint folder."""
    shape = load_shape(run)
    write_checkpoint(model_of(averages(run), spec.noise_high, shape), shape, run, folder, spec, sampling)


def write_checkpoint(
    model: DenseDiffusionGemma, shape: Shape, tokenizer: Path, folder: Path, spec: InfillSpec, sampling: Sampling
) -> None:
    """Write config, weights (bf16), tokenizer (from the folder given), generation settings and `infill.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.json", model_config(spec.noise_high, shape))
    _write(folder / "generation_config.json", generation_config(spec, sampling))
    spec.save(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, folder / name)
    tensors = model.checkpoint() | vision_tensors(folder)
    rounded = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def model_config(vocabulary: int, shape: Shape = SMALL) -> dict[str, Any]:
    """The whole `config.json`."""
    return {
        "architectures": ["DiffusionGemmaForBlockDiffusion"],
        "model_type": "diffusion_gemma",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "canvas_length": CANVAS_LENGTH,
        # Reserved control tokens, which no text holds: transformers compares the prompt with them.
        "boi_token_id": LAST_CONTROL - 2,
        "eoi_token_id": LAST_CONTROL - 1,
        "image_token_id": LAST_CONTROL,
        "text_config": text_config(vocabulary, shape),
        "vision_config": VISION,
    }


def generation_config(spec: InfillSpec, sampling: Sampling) -> dict[str, Any]:
    """`generation_config.json` for transformers' own generate and for our engines."""
    settings = asdict(sampling)
    bound = settings.pop("entropy_bound")
    return {
        **settings,
        "sampler_config": {"_cls_name": "EntropyBoundSamplerConfig", "entropy_bound": bound},
        "max_new_tokens": CANVAS_LENGTH,
        "bos_token_id": spec.bos,
        "eos_token_id": [1, spec.gap_end, spec.gap_more],
        "pad_token_id": 0,
    }


def vision_tensors(folder: Path) -> dict[str, Tensor]:
    """Zero tensors for the parts of transformers' class that text never uses."""
    from transformers import AutoConfig, DiffusionGemmaForBlockDiffusion

    with torch.device("meta"):
        model = DiffusionGemmaForBlockDiffusion(AutoConfig.from_pretrained(folder))
    state = model.state_dict()
    return {name: torch.zeros(tensor.shape) for name, tensor in state.items() if "vision" in name}


def with_settings(spec: InfillSpec, max_prompt_tokens: int, confidence_floor: float) -> InfillSpec:
    """The same control tokens with the limits that evaluation found."""
    return replace(spec, max_prompt_tokens=max_prompt_tokens, confidence_floor=confidence_floor)


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def read_sampling(folder: Path) -> Sampling:
    """The sampler's settings of a checkpoint folder."""
    data = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    names = [field.name for field in fields(Sampling) if field.name != "entropy_bound"]
    return Sampling(**{name: data[name] for name in names}, entropy_bound=data["sampler_config"]["entropy_bound"])
