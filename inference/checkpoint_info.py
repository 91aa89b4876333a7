"""What can be told of a checkpoint folder without loading it. Standard library only; nothing here raises."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.errors import EngineError
from inference.hub_cache import hub_id, missing_files
from inference.weight_files import StoredTensor, stored_tensors

EMBEDDED = Path(__file__).parent / "default_model"
MODEL_TYPE = "diffusion_gemma"
CARDS = ("MODEL_CARD.md", "README.md")
_PRECISIONS = {"BF16": "bf16", "F16": "fp16", "F32": "fp32", "F8_E4M3": "fp8", "F8_E5M2": "fp8", "I8": "int8"}
_MAX_FIGURES = 12


@dataclass(frozen=True)
class CheckpointInfo:
    """``problem`` says why it cannot be loaded, else it is empty. ``precision`` is that of most numbers; ``parameters``
    counts all of them, the vision tower's too. ``format`` is ``fim`` or ``chat``; ``figures`` is a table's lines."""

    name: str
    path: str
    complete: bool
    problem: str = ""
    size_bytes: int = 0
    parameters: int = 0
    precision: str = ""
    layers: int = 0
    hidden_size: int = 0
    experts: int = 0
    experts_per_token: int = 0
    vocabulary: int = 0
    canvas_length: int = 0
    max_positions: int = 0
    format: str = ""
    confidence_floor: float | None = None
    licence: str = ""
    summary: str = ""
    figures: list[str] = field(default_factory=list)


def model_name(folder: Path) -> str:
    """The name people know a model by: its hub id, else the folder's, and of the embedded one ``lacuna-default``."""
    if folder.resolve() == EMBEDDED.resolve():
        return "lacuna-default"
    return hub_id(folder) or folder.resolve().name


def is_ours(folder: Path) -> bool:
    """Whether ``config.json`` says that this is a DiffusionGemma checkpoint."""
    return _json(folder / "config.json").get("model_type") == MODEL_TYPE


def describe(folder: Path) -> CheckpointInfo:
    """Look into ``folder``."""
    config, problem = _json(folder / "config.json"), ""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    missing = missing_files(folder)
    parameters, precision = 0, ""
    if missing:
        problem = f"{missing[0]} is missing"
    elif not is_ours(folder):
        problem = f"config.json describes {config.get('model_type') or 'nothing known'}, which is not supported"
    else:
        try:
            tensors = stored_tensors(folder).values()
            parameters = sum(tensor.elements for tensor in tensors)
            precision = _precision(config, tensors)
        except EngineError as error:
            problem = str(error)
    card = _card(folder)
    infill = _json(folder / "infill.json")
    return CheckpointInfo(
        name=model_name(folder),
        path=str(folder),
        complete=not missing,
        problem=problem,
        size_bytes=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        parameters=parameters,
        precision=precision,
        layers=_whole(text, "num_hidden_layers"),
        hidden_size=_whole(text, "hidden_size"),
        experts=_whole(text, "num_experts"),
        experts_per_token=_whole(text, "top_k_experts"),
        vocabulary=_whole(text, "vocab_size"),
        canvas_length=_whole(config, "canvas_length"),
        max_positions=_whole(text, "max_position_embeddings"),
        format="fim" if infill else "chat",
        confidence_floor=_floor(infill),
        licence=_licence(card),
        summary=_summary(card),
        figures=_figures(card),
    )


def _floor(infill: dict[str, Any]) -> float | None:
    """What is judged has the calibration's; else the canvas's own confidence counts."""
    calibration = infill.get("calibration")
    floor = calibration.get("floor") if isinstance(calibration, dict) else infill.get("confidence_floor")
    return float(floor) if isinstance(floor, int | float) else None


def _precision(config: dict[str, Any], tensors: Iterable[StoredTensor]) -> str:
    quantisation = config.get("quantization_config")
    if isinstance(quantisation, dict):
        return str(quantisation.get("quant_method") or "quantised")
    counts = Counter[str]()
    for tensor in tensors:
        counts[tensor.dtype] += tensor.elements
    most = counts.most_common(1)
    return _PRECISIONS.get(most[0][0], most[0][0].lower()) if most else ""


def _whole(values: Any, name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _card(folder: Path) -> str:
    for name in CARDS:
        try:
            return (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return ""


def _licence(card: str) -> str:
    """The front matter's ``license``; the block between two lines of three dashes at the top is YAML."""
    if not card.startswith("---\n"):
        return ""
    for line in card[4:].partition("\n---")[0].splitlines():
        key, _, value = line.partition(":")
        if key == "license":
            return value.strip().strip("\"'")
    return ""


def _summary(card: str) -> str:
    """The first paragraph of prose."""
    body = card.partition("\n---\n")[2] if card.startswith("---\n") else card
    paragraphs = (paragraph.strip() for paragraph in body.split("\n\n"))
    prose = (paragraph for paragraph in paragraphs if paragraph and not paragraph.startswith(("#", "|", "<", "!", "-")))
    return " ".join(next(prose, "").split())


def _figures(card: str) -> list[str]:
    """The first table."""
    lines = card.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith("|")), len(lines))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append(line)
    return rows[:_MAX_FIGURES]
