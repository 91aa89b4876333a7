"""Loading a checkpoint folder: checked before anything heavy is imported, safetensors only, never from the network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.adapters import AdaptedWeights
from inference.checkpoint_info import EMBEDDED as EMBEDDED
from inference.checkpoint_info import MODEL_TYPE, model_name
from inference.denoising import DenoisingSettings
from inference.device import Device, choose_device
from inference.errors import EngineError
from inference.formats.base import Format
from inference.formats.choose import load_format
from inference.memory import check_memory
from inference.models.base import Denoiser
from inference.models.graphed import GraphedDenoiser
from inference.models.lean_denoiser import LeanDenoiser
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from inference.weights import FollowedWeights, Weights, shared_name
from inference.worker_options import PRECISIONS

ReportProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the model, how text becomes tokens for it, and how to denoise with it."""

    name: str
    denoiser: Denoiser
    format: Format
    settings: DenoisingSettings


def load_checkpoint(
    folder: Path,
    report: ReportProgress,
    device: Device | None = None,
    *,
    precision: str = "auto",
    adapter: Path | None = None,
) -> Checkpoint:
    """Load ``folder``: config.json, model.safetensors (or its shards), tokenizer.json, infill.json and, if it is there,
    generation_config.json. ``adapter`` is the folder of a LoRA adapter, merged into the weights.

    ``device`` defaults to the best there is. ``precision`` ``auto`` is bfloat16 where that is native: half the bytes
    per step, and what the embedded model was trained in. Raises :class:`EngineError`, one sentence that names what is
    wrong with which file and the way out.
    """
    report(0.0, f"checking {folder}")
    config = _checked_config(folder)
    weights = Weights(folder)
    format_ = _format(folder, config)
    settings = _settings(folder)
    adapted = AdaptedWeights(weights, weights, adapter) if adapter else None
    device = device or choose_device(None)
    name = model_name(folder) + (f"+{adapter.resolve().name}" if adapter else "")
    source = _Source(folder, config, weights, adapted, precision)
    return Checkpoint(name, _denoiser(name, source, device, report), format_, settings)


@dataclass(frozen=True)
class _Source:
    folder: Path
    config: Mapping[str, Any]
    weights: Weights
    adapted: AdaptedWeights | None
    precision: str

    @property
    def quantised(self) -> bool:
        return bool(self.config.get("quantization_config"))


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


def _format(folder: Path, config: Mapping[str, Any]) -> Format:
    try:
        return load_format(folder, config)
    except ValueError as error:
        way_out = "" if ";" in str(error) else "; download the checkpoint again"
        raise EngineError(f"{error}{way_out}") from error


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


def _denoiser(name: str, source: _Source, device: Device, report: ReportProgress) -> Denoiser:
    """The lean model; transformers for what is quantised. On a GPU its steps are CUDA graphs."""
    if source.precision not in PRECISIONS:
        raise EngineError(f"there is no precision {source.precision}; take one of {', '.join(PRECISIONS)}")
    if source.quantised and source.precision != "auto":
        raise EngineError(f"{source.folder} is quantised already; leave --precision {source.precision} out")
    if source.quantised and source.adapted:
        raise EngineError(f"{source.folder} is quantised: no adapter can be merged into it; take the bf16 checkpoint")
    precision = ("bf16" if device.bfloat16 else "fp32") if source.precision == "auto" else source.precision
    own = source.adapted.own if source.adapted else frozenset()
    check_memory(name, source.weights, precision, device, quantised=source.quantised, twice=map(shared_name, own))
    place, dtype = torch.device(device.kind), torch.float32 if precision == "fp32" else torch.bfloat16
    if source.quantised:
        return _through_transformers(source, place, dtype, report)
    lean = _lean(source, place, dtype, report)
    return GraphedDenoiser(lean) if place.type == "cuda" else lean


def _lean(source: _Source, place: torch.device, dtype: torch.dtype, report: ReportProgress) -> LeanDenoiser:
    def follow(done: int, total: int) -> None:
        report(0.05 + 0.85 * done / total, f"reading weights {_of(done, total)}")

    weights: Mapping[str, Tensor] = source.adapted or source.weights
    followed = FollowedWeights(weights, source.weights, follow)
    try:
        return LeanDenoiser.load(source.config, followed, place, dtype, lambda *_: None, source.precision)
    except EngineError as error:
        raise EngineError(f"{source.folder}: {error}", error.code) from error


def _through_transformers(source: _Source, place: torch.device, dtype: torch.dtype, report: ReportProgress) -> Denoiser:
    report(0.05, "importing transformers")
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is first imported: nothing here may reach the network
    from inference.models.diffusion_gemma import load_diffusion_gemma  # takes seconds, so after all checks

    report(0.1, f"reading weights, {_size(source.weights.total_bytes)}")
    try:
        return load_diffusion_gemma(source.folder, place, dtype)
    except ImportError as error:
        what = " ".join(str(error).split())
        raise EngineError(f"{source.folder} needs a package that is not installed ({what})") from error
    except (ValueError, TypeError) as error:
        what = " ".join(str(error).split())
        raise EngineError(f"{source.folder} cannot be loaded ({what}); download the checkpoint again") from error


def _of(done: int, total: int) -> str:
    unit, divisor = ("GB", 1e9) if total >= 1e9 else ("MB", 1e6)
    return f"{done / divisor:.1f} of {total / divisor:.1f} {unit}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


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
