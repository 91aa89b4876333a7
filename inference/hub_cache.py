"""The Hugging Face cache on this disk: which models are in it, and whether they are whole. Standard library only.

Its layout is the hub's documented one: ``models--OWNER--NAME/{refs,snapshots,blobs}``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from inference.errors import EngineError
from inference.weight_files import weight_file_names

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def cache_folder() -> Path:
    """Where the hub's cache lies, as huggingface_hub reads the environment."""
    for name, inside in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if given := os.environ.get(name):
            return Path(os.path.expandvars(given)).expanduser() / inside
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def find_model(given: Path) -> Path:
    """The folder that ``given`` names: a folder, or a hub id (``owner/name``) that is whole in the cache.

    Raises :class:`EngineError`; nothing is ever downloaded here.
    """
    if given.expanduser().is_dir():
        return given.expanduser()
    name = given.as_posix()
    if not _HUB_ID.fullmatch(name):
        raise EngineError(f"there is no model folder {given}; name another with --model")
    folder = cached_snapshot(name)
    if folder is None:
        raise EngineError(
            f"there is neither a folder {name} nor such a model in the cache; fetch it: lacuna model pull {name}"
        )
    if missing := missing_files(folder):
        raise EngineError(
            f"{name} is only partly downloaded ({missing[0]} is missing); go on with: lacuna model pull {name}"
        )
    return folder


def cached_snapshot(repo: str, revision: str = "main") -> Path | None:
    """The snapshot of a branch, tag or commit, None if there is none; for a branch unheard of, the only snapshot."""
    root = repo_folder(repo)
    try:
        commit = (root / "refs" / revision).read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision
    snapshots = _folders(root / "snapshots")
    for folder in snapshots:
        if folder.name == commit:
            return folder
    return snapshots[0] if revision == "main" and len(snapshots) == 1 else None


def repo_folder(repo: str) -> Path:
    """Where the cache keeps a model repository."""
    return cache_folder() / ("models--" + repo.replace("/", "--"))


def cached_models() -> Iterator[tuple[str, Path]]:
    """Hub id and snapshot folder of every model in the cache, of whatever kind."""
    for root in _folders(cache_folder()):
        if root.name.startswith("models--"):
            repo = root.name.removeprefix("models--").replace("--", "/", 1)
            for snapshot in _folders(root / "snapshots"):
                yield repo, snapshot


def hub_id(folder: Path) -> str | None:
    """The hub id of a snapshot folder, None for any other."""
    root = folder.resolve().parent.parent
    if folder.resolve().parent.name == "snapshots" and root.name.startswith("models--"):
        return root.name.removeprefix("models--").replace("--", "/", 1)
    return None


def missing_files(folder: Path) -> list[str]:
    """What a checkpoint folder lacks to be loaded; empty when it is whole."""
    try:
        weights = weight_file_names(folder)
    except EngineError as error:
        return [str(error)]
    return [name for name in ("config.json", "tokenizer.json", *weights) if not (folder / name).is_file()]


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir())
    except OSError:
        return []
