"""Saves and restores a run: tensors as safetensors, the position as JSON, each replaced in one move."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from inference.training.optimizer import Optimizer

STATE, POSITION = "state.safetensors", "position.json"


def save_run(folder: Path, optimizer: Optimizer, position: dict[str, int]) -> None:
    """Write both files; the position names the step that the tensors must carry, so a torn pair is noticed."""
    tensors = folder / (STATE + ".new")
    save_file(optimizer.state, tensors, metadata={"step": str(position["step"]), "position": json.dumps(position)})
    tensors.replace(folder / STATE)
    text = folder / (POSITION + ".new")
    text.write_text(json.dumps(position) + "\n")
    text.replace(folder / POSITION)


def load_run(folder: Path, optimizer: Optimizer, position: dict[str, int]) -> bool:
    """Restore `optimizer` and `position` in place; False if the folder holds no run."""
    path = folder / STATE
    if not path.exists():
        return False
    optimizer.load_state(load_file(path))
    position.update(read_position(path))
    return True


def read_position(path: Path) -> dict[str, int]:
    """The position that is stored inside a state file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(json.loads(file.metadata()["position"]))
