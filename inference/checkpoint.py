"""Loading a checkpoint folder: checked before anything heavy is imported, safetensors only, never from the network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from inference.denoising import DenoisingSettings
from inference.device import Device, devices
from inference.errors import EngineError
from inference.formats.base import Format
from inference.formats.fim import FimFormat
from inference.models.base import Denoiser
from inference.models.dense_denoiser import DenseDenoiser
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature

MODEL_TYPE = "diffusion_gemma"
EMBEDDED = Path(__file__).parent / "default_model"

ReportProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the model, how text becomes tokens for it, and how to denoise with it."""

    name: str
    denoiser: Denoiser
    format: Format
    settings: DenoisingSettings


def load_checkpoint(folder: Path, report: ReportProgress, device: Device | None = None) -> Checkpoint:
    """Load ``folder``: config.json, model.safetensors (or its shards), tokenizer.json, infill.json and, if it is there,
    generation_config.json.

    ``device`` defaults to the first CUDA device, else the CPU; weights are bfloat16 where that is native: half the
    bytes per step, and what the embedded model was trained in. Raises :class:`EngineError`, one sentence that names
    what is wrong with which file and the way out.
    """
    report(0.0, f"checking {folder}")
    config = _checked_config(folder)
    _check_weights(folder)
    fim = _fim_format(folder, config)
    settings = _settings(folder)
    denoiser = _denoiser(folder, config, device or devices()[0], report)
    return Checkpoint(_name(folder), denoiser, fim, settings)


def _checked_config(folder: Path) -> Mapping[str, Any]:
    if not folder.is_dir():
        raise EngineError(f"{folder} is not a folder; give the folder of a DiffusionGemma checkpoint")
    config = _json_object(folder / "config.json", "is it a checkpoint folder?")
    if config.get("model_type") != MODEL_TYPE:
        architectures = config.get("architectures") or [config.get("model_type")]
        raise EngineError(
            f"{folder / 'config.json'} describes {architectures[0]}; only DiffusionGemma checkpoints are supported"
        )
    return config


def _check_weights(folder: Path) -> None:
    """See that all weight files are there and whole; reads only their headers."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = _json_object(index, "download the checkpoint again").get("weight_map")
        if not isinstance(weight_map, dict):
            raise EngineError(f"{index} has no 'weight_map'; download the checkpoint again")
        files = sorted({folder / str(name) for name in weight_map.values()})
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if file.parent != folder:
            raise EngineError(f"{index} points outside its folder, to {file}; do not trust this checkpoint")
        if not file.is_file():
            raise EngineError(_missing_weights(folder, file))
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise EngineError(f"{file} is damaged or cut short ({error}); download the checkpoint again") from error


def _missing_weights(folder: Path, file: Path) -> str:
    pickles = sorted(path.name for suffix in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(suffix))
    if pickles:
        return f"{folder} holds its weights as a pickle ({pickles[0]}), which can run code; convert it to safetensors"
    return f"{file} is missing; download the checkpoint again"


def _fim_format(folder: Path, config: Mapping[str, Any]) -> FimFormat:
    if not (folder / "tokenizer.json").is_file():
        raise EngineError(f"{folder / 'tokenizer.json'} is missing; save the checkpoint with its fast tokenizer")
    if not (folder / "infill.json").is_file():
        raise EngineError(
            f"{folder / 'infill.json'} is missing, and checkpoints that were not trained to fill gaps need the clamped "
            "format, which is not supported yet; choose a checkpoint that has one"
        )
    try:
        fim = FimFormat.load(folder)
    except ValueError as error:
        raise EngineError(f"{error}; download the checkpoint again") from error
    vocab_size = config.get("text_config", {}).get("vocab_size", 0)
    if fim.spec.noise_high > vocab_size:
        raise EngineError(
            f"{folder / 'infill.json'} names tokens up to {fim.spec.noise_high - 1}, but config.json has a vocabulary "
            f"of {vocab_size}; the files belong to different checkpoints"
        )
    return fim


def _settings(folder: Path) -> DenoisingSettings:
    """What generation_config.json says; what it leaves out is as in transformers."""
    path = folder / "generation_config.json"
    given = _json_object(path, "download the checkpoint again") if path.is_file() else {}
    sampler = given.get("sampler_config") or {}
    try:
        return DenoisingSettings(
            sampler=EntropyBoundSampler(float(sampler.get("entropy_bound", 0.1))),
            temperature=LinearTemperature(float(given.get("t_min", 0.4)), float(given.get("t_max", 0.8))),
            stopping=StableAndConfident(
                int(given.get("stability_threshold", 1)), float(given.get("confidence_threshold", 0.005))
            ),
            max_denoising_steps=int(given.get("max_denoising_steps", 48)),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise EngineError(f"{path} has a setting that cannot be used ({error}); mend it or delete the file") from error


def _denoiser(folder: Path, config: Mapping[str, Any], device: Device, report: ReportProgress) -> Denoiser:
    place, dtype = torch.device(device.kind), torch.bfloat16 if device.bfloat16 else torch.float32
    if DenseDenoiser.can_run(folder, config):
        report(0.3, f"loading weights onto {device.name}")
        return DenseDenoiser.load(folder, place, dtype)
    report(0.1, "importing transformers")
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is first imported: nothing here may reach the network
    from inference.models.diffusion_gemma import load_diffusion_gemma  # takes seconds, so after all checks

    report(0.5, f"loading weights onto {device.name}")
    try:
        return load_diffusion_gemma(folder, place, dtype)
    except (ValueError, TypeError) as error:
        raise EngineError(f"{folder} cannot be loaded ({error}); download the checkpoint again") from error


def _name(folder: Path) -> str:
    """The name people know the model by: that of the folder, and of the embedded one ``lacuna-default``."""
    return "lacuna-default" if folder.resolve() == EMBEDDED.resolve() else folder.resolve().name


def _json_object(path: Path, way_out: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EngineError(f"{path} is missing; {way_out}") from None
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read as JSON ({error}); {way_out}") from error
    if not isinstance(content, dict):
        raise EngineError(f"{path} does not hold a JSON object; {way_out}")
    return content
