"""Models on this disk and on the Hugging Face hub. ``python -m inference.hub`` does the work of ``lacuna model``.

Answers are JSON on standard output, for ``pull`` one object per line as it goes on; an error is one line on standard
error and exit code 3. Only ``plan`` and ``pull`` reach the network, and only ``pull`` downloads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from inference.checkpoint_info import EMBEDDED, MODEL_TYPE, CheckpointInfo, describe, is_ours
from inference.errors import EngineError
from inference.hub_cache import cache_folder, cached_models, find_model, repo_folder
from inference.hub_errors import hub_errors

PARTIAL = ".lacuna-partial"
TELL_EVERY_S = 0.1
_LARGEST_BY_HTTP = 50 * 10**9  # the hub's own limit; larger files go through its own client, which starts over
Follow = Callable[[int, str], None]


@dataclass(frozen=True)
class HubFile:
    """One file of a repository that is to be here."""

    path: str
    size_bytes: int


@dataclass(frozen=True)
class Plan:
    """What ``pull`` would do: ``missing_bytes`` are to be fetched, ``free_bytes`` are left on the disk of ``cache``."""

    repo: str
    revision: str
    commit: str
    licence: str
    files: tuple[HubFile, ...]
    total_bytes: int
    missing_bytes: int
    free_bytes: int
    cache: str


def local_models(folders: list[Path]) -> Iterator[CheckpointInfo]:
    """The embedded model, those in ``folders`` (checkpoints, or folders of checkpoints), and those in the hub cache."""
    yield describe(EMBEDDED)
    for folder in folders:
        if not folder.is_dir():
            raise EngineError(f"there is no folder {folder}")
        children = [folder] if (folder / "config.json").is_file() else sorted(folder.iterdir())
        yield from (describe(child) for child in children if is_ours(child))
    yield from (describe(snapshot) for _, snapshot in cached_models() if is_ours(snapshot))


def plan(repo: str, revision: str = "main") -> Plan:
    """Ask the hub what ``repo`` holds; nothing is downloaded. Raises :class:`EngineError`."""
    from huggingface_hub import HfApi

    with hub_errors(repo, revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=20)
    kind = (info.config or {}).get("model_type")
    if kind not in (None, MODEL_TYPE):
        raise EngineError(f"{repo} is a {kind} model; only DiffusionGemma checkpoints are supported")
    files = tuple(HubFile(one.rfilename, one.size or 0) for one in info.siblings or () if wanted(one.rfilename))
    if not any(file.path.endswith(".safetensors") for file in files):
        raise EngineError(f"{repo} holds no model*.safetensors at {revision}; choose another repository or revision")
    snapshot = repo_folder(repo) / "snapshots" / str(info.sha)
    here = sum(file.size_bytes for file in files if (snapshot / file.path).is_file())
    total = sum(file.size_bytes for file in files)
    return Plan(
        repo=repo,
        revision=revision,
        commit=str(info.sha),
        licence=str(getattr(info.card_data, "license", None) or ""),
        files=files,
        total_bytes=total,
        missing_bytes=total - here - _partly_here(repo),
        free_bytes=shutil.disk_usage(_existing(cache_folder())).free,
        cache=str(cache_folder()),
    )


def wanted(path: str) -> bool:
    """Whether a repository's file is one that a checkpoint consists of: no pickles, no code, nothing in subfolders."""
    if "/" in path or "\\" in path or path.startswith("."):
        return False
    if path.endswith(".safetensors"):
        return path.startswith("model")
    return path.endswith((".json", ".jinja")) or path == "tokenizer.model"


def pull(planned: Plan, follow: Follow) -> Path:
    """Download what is missing, small files first, and return the snapshot folder. The next call resumes a broken one.

    ``follow`` is told how many bytes of ``total_bytes`` are here, and which file comes. Raises :class:`EngineError`.
    """
    if planned.missing_bytes > planned.free_bytes:
        raise EngineError(no_room(planned))
    snapshot = repo_folder(planned.repo) / "snapshots" / planned.commit
    done = 0
    with hub_errors(planned.repo, planned.revision):
        for file in sorted(planned.files, key=lambda file: file.size_bytes):
            follow(done, file.path)
            if not (snapshot / file.path).is_file():
                _fetch(planned, file, partial(_follow_part, follow, done, file.path))
            done += file.size_bytes
        follow(done, "")
        _write_ref(planned)
    return snapshot


def _follow_part(follow: Follow, before: int, path: str, part: int) -> None:
    follow(before + part, path)


def no_room(planned: Plan) -> str:
    """The sentence for a disk that is too small."""
    needed, free = planned.missing_bytes / 1e9, planned.free_bytes / 1e9
    return (
        f"{planned.repo} needs {needed:.1f} GB more and {free:.1f} GB are free at {planned.cache}; "
        "free some, or set HF_HUB_CACHE to a folder on another disk"
    )


def _fetch(planned: Plan, file: HubFile, follow: Callable[[int], None]) -> None:
    """Put one file into the cache. huggingface_hub forgets what a killed process had fetched of a file, so the bytes
    are fetched here, and it finds them under their final name."""
    from filelock import FileLock, Timeout
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if file.size_bytes < _LARGEST_BY_HTTP:
        url = hf_hub_url(planned.repo, file.path, revision=planned.commit)
        etag = str(get_hf_file_metadata(url).etag)
        blob = repo_folder(planned.repo) / "blobs" / Path(etag).name
        part = blob.with_name(blob.name + PARTIAL)
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(f"{part}.lock", timeout=0), part.open("ab") as opened:
                if opened.tell() > file.size_bytes:
                    opened.truncate(0)
                have = opened.tell()
                if not blob.exists():
                    told = _told(follow, have)
                    headers, size = build_hf_headers(), file.size_bytes
                    http_get(url, opened, resume_size=have, headers=headers, expected_size=size, tqdm_class=told)
                    opened.flush()
                    _check(part, etag, planned, file)
                    part.rename(blob)
        except Timeout:
            raise EngineError(f"another process is downloading {planned.repo} already; wait for it") from None
        Path(f"{part}.lock").unlink(missing_ok=True)
    hf_hub_download(planned.repo, file.path, revision=planned.commit)


def _told(follow: Callable[[int], None], have: int) -> type:
    """What huggingface_hub takes for a progress bar."""

    class Told:
        def __init__(self, **_: Any) -> None:
            self._done = have

        def __enter__(self) -> Told:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, size_bytes: int) -> None:
            self._done += size_bytes
            follow(self._done)

    return Told


def _check(part: Path, etag: str, planned: Plan, file: HubFile) -> None:
    """Large files are named by their SHA-256: see that it is theirs, for a resumed one consists of several parts."""
    if len(etag) != 64:
        return
    with part.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != etag:
        part.unlink()
        raise EngineError(f"{file.path} of {planned.repo} arrived damaged and was removed; pull it again")


def _write_ref(planned: Plan) -> None:
    """Note which commit the branch is at, as the hub's cache does."""
    refs = (repo_folder(planned.repo) / "refs").resolve()
    ref = (refs / planned.revision).resolve()
    if planned.revision != planned.commit and ref.is_relative_to(refs):
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(planned.commit, encoding="utf-8")


def _partly_here(repo: str) -> int:
    return sum(part.stat().st_size for part in (repo_folder(repo) / "blobs").glob(f"*{PARTIAL}"))


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m inference.hub")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list").add_argument("folders", nargs="*", type=Path)
    actions.add_parser("show").add_argument("model", type=Path, nargs="?", default=EMBEDDED)
    for name in ("plan", "pull"):
        action = actions.add_parser(name)
        action.add_argument("repo")
        action.add_argument("--revision", default="main")
    given = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        if given.action == "list":
            _print([asdict(info) for info in local_models(given.folders)])
        elif given.action == "show":
            _print(asdict(describe(find_model(given.model))))
        elif given.action == "plan":
            _print(asdict(plan(given.repo, given.revision)))
        else:
            planned = plan(given.repo, given.revision)
            _print({"folder": str(pull(planned, _Teller(planned.total_bytes)))})
    except (EngineError, ImportError) as error:
        sentence = error if isinstance(error, EngineError) else f"{error}; pip install 'lacuna-lsp[local]'"
        print(" ".join(str(sentence).split()), file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


class _Teller:
    """Prints progress as JSON lines, not oftener than anybody can look."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._told_at = 0.0

    def __call__(self, done: int, file: str) -> None:
        if time.monotonic() - self._told_at >= TELL_EVERY_S or done == self._total_bytes:
            self._told_at = time.monotonic()
            _print({"done": done, "total": self._total_bytes, "file": file})


def _print(answer: object) -> None:
    print(json.dumps(answer, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())
