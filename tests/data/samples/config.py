import json
from pathlib import Path


def load_config(path: Path) -> dict:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        return 


def save_config(path: Path, config: dict) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
