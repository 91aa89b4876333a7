"""Projects laid out on disk, so that files near a document are found the way they are found for a user."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lsp_server.bench.held_out import ProjectFile
from lsp_server.bench.problem import BadProblems


@contextmanager
def on_disk(files: Iterable[ProjectFile]) -> Iterator[Path]:
    """A folder with one folder for each project; gone in the end."""
    with tempfile.TemporaryDirectory(prefix="lacuna-bench-") as folder:
        root = Path(folder).resolve()
        for file in files:
            place = place_of(root, file)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.text.encode("utf-8", "replace"))
        yield root


def place_of(root: Path, file: ProjectFile, *, whole: bool = False) -> Path:
    """Where a file, or its ``whole`` project, stands under ``root``. Raises :class:`BadProblems` if that is outside."""
    relative = PurePosixPath(file.project.replace("/", "_"), file.path)
    if ".." in relative.parts or relative.is_absolute():
        raise BadProblems(f"{file.path!r} leads out of its project")
    return root / (relative.parts[0] if whole else relative)
