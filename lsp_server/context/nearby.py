"""Files of the project that are not open, the likeliest to matter first. Read within bounds, and off the event loop."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from lsp_server.context.relatives import Relatives
from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.options import Options
from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.languages import PLAIN_TEXT, language_id_of, model_language_id
from lsp_server.uris import path_of

REFRESH_S = 60.0
"""So long what was found stands, if nothing is saved."""

_KEPT = 8
_FAMILIES = (frozenset({"javascript", "typescript", "tsx"}), frozenset({"c", "cpp"}))
"""Languages whose files import each other."""

_PLAINLY = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
_NEVER_SEARCHED = {"node_modules", "__pycache__", "site-packages", "bower_components"}


@dataclass(frozen=True)
class Bounds:
    """Of one search. Sizes are bytes; ``seconds`` are for all of it, ``entries`` are names looked at in folders."""

    files: int = 64
    total_bytes: int = 1_000_000
    file_bytes: int = 200_000
    seconds: float = 2.0
    entries: int = 20_000


@dataclass
class _Budget:
    bounds: Bounds
    stopped: Callable[[], bool]
    began: float = field(default_factory=time.monotonic)
    entries: int = 0

    @property
    def spent(self) -> bool:
        late = time.monotonic() - self.began > self.bounds.seconds
        return late or self.entries > self.bounds.entries or self.stopped()


def nearby_files(
    snapshot: DocumentSnapshot,
    exclusions: Exclusions,
    options: Options,
    *,
    known: Mapping[Path, DocumentSnapshot] | None = None,
    bounds: Bounds = Bounds(),
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[DocumentSnapshot, ...]:
    """Files in the document's language in its workspace folder (else in its own), the likeliest to matter first.

    ``version`` is the time of their last change in nanoseconds; one that is in ``known`` and has not changed is that
    very object. Links are not followed, and nothing excluded is opened. Never raises. Not for the event loop.
    """
    found = path_of(snapshot.uri) if exclusions.trusted else None
    if found is None or (language := model_language_id(snapshot.language_id, snapshot.uri)) == PLAIN_TEXT:
        return ()
    path, budget = Path(found), _Budget(bounds, stopped)
    languages = next((family for family in _FAMILIES if language in family), frozenset({language}))
    related, may_read = Relatives(snapshot.text, path), partial(exclusions.may_read, options=options)
    candidates: list[tuple[int, str, Path]] = []
    for distance, entry in _search(path.parent, exclusions.root_of(path), may_read, budget):
        if entry.path != str(path) and model_language_id(language_id_of(Path(entry.name))) in languages:
            candidates.append((distance - related.nearness(Path(entry.path)), entry.path, Path(entry.path)))
    return tuple(_read((path for _, _, path in sorted(candidates)), may_read, known or {}, budget))


def _search(
    start: Path, root: Path | None, may_read: Callable[..., bool], budget: _Budget
) -> Iterator[tuple[int, os.DirEntry[str]]]:
    """Plain files with their distance in folders, the nearest folder first."""
    waiting, seen = deque([(0, start)]), {start}
    while waiting and not budget.spent:
        distance, folder = waiting.popleft()
        for entry in _entries(folder):
            budget.entries += 1
            if budget.spent:
                return
            if entry.is_file(follow_symlinks=False):
                yield distance, entry
            elif root is not None and entry.is_dir(follow_symlinks=False) and not _is_tooling(entry.name):
                below = Path(entry.path)
                if below not in seen and may_read(below, folder=True):
                    seen.add(below)
                    waiting.append((distance + 1, below))
        if root is not None and folder != root and folder.is_relative_to(root) and folder.parent not in seen:
            seen.add(folder.parent)
            waiting.append((distance + 1, folder.parent))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _is_tooling(name: str) -> bool:
    return name.startswith(".") or name in _NEVER_SEARCHED


def _read(
    paths: Iterable[Path], may_read: Callable[..., bool], known: Mapping[Path, DocumentSnapshot], budget: _Budget
) -> Iterator[DocumentSnapshot]:
    files, left = budget.bounds.files, budget.bounds.total_bytes
    for path in paths:
        if files <= 0 or budget.spent:
            return
        if not may_read(path):
            continue
        if snapshot := _snapshot(path, min(left, budget.bounds.file_bytes), known.get(path)):
            yield snapshot
            files, left = files - 1, left - len(snapshot.text)


def _snapshot(path: Path, most: int, known: DocumentSnapshot | None) -> DocumentSnapshot | None:
    """The file as it is; None if it is no plain UTF-8 file of at most ``most`` bytes. What it waits for is the disk."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode) or path.lstat().st_size > most:
            return None
        # Another file may have come in its place meanwhile, a pipe even.
        handle = os.open(path, _PLAINLY)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                return None
            if known and known.version == status.st_mtime_ns and len(utf8(known.text)) == status.st_size:
                return known
            text = file.read(most).decode("utf-8")
    except (OSError, ValueError):
        return None
    if "\0" in text:
        return None
    return DocumentSnapshot(path.as_uri(), status.st_mtime_ns, language_id_of(path), text)


@dataclass(frozen=True)
class _Held:
    files: tuple[DocumentSnapshot, ...]
    read_at: float
    saves: int
    exclusions: Exclusions
    options: Options


class Nearby:
    """The files near each document as last read. A thread of its own reads them; ``clock`` counts seconds.

    Only one thread may ask, and it never waits. ``then`` is called in the thread with what was read.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        bounds: Bounds = Bounds(),
        then: Callable[[Iterable[DocumentSnapshot]], None] = lambda _: None,
    ) -> None:
        self._then = then
        self._clock = clock
        self._bounds = bounds
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._saves = 0
        self._reader: threading.Thread | None = None
        self._closed = threading.Event()
        self._read: SimpleQueue[tuple[str, _Held]] = SimpleQueue()
        """From the thread to the one that asks."""

    def files(
        self,
        snapshot: DocumentSnapshot,
        exclusions: Exclusions,
        options: Options,
        others: tuple[DocumentSnapshot, ...] = (),
    ) -> tuple[DocumentSnapshot, ...]:
        """What is known now, with nothing that ``exclusions`` and ``options`` were not asked about.

        ``others`` are open: they need not be read, but ``then`` gets them too.
        """
        uri = snapshot.uri
        self._take()
        held = self._held.get(uri)
        if held and (held.exclusions is not exclusions or held.options.excluded_files != options.excluded_files):
            held = None
        if held is None or held.saves != self._saves or self._clock() - held.read_at > REFRESH_S:
            self._refresh(snapshot, exclusions, options, others)
        return held.files if held else ()

    def saved(self) -> None:
        """Read again when next somebody asks: files and ignore files may have changed."""
        self._saves += 1

    def forget(self, uri: str) -> None:
        """Drop a document that was closed."""
        self._held.pop(uri, None)

    def close(self) -> None:
        """Read no more; the thread ends with its next file."""
        self._closed.set()

    def wait(self, seconds: float) -> None:
        """Until what is being read now has been read."""
        if reader := self._reader:
            reader.join(seconds)

    def _refresh(
        self, snapshot: DocumentSnapshot, exclusions: Exclusions, options: Options, others: tuple[DocumentSnapshot, ...]
    ) -> None:
        if self._closed.is_set() or (self._reader and self._reader.is_alive()):
            return
        known = {Path(path): one for held in self._held.values() for one in held.files if (path := path_of(one.uri))}
        saves = self._saves  # those from now on may come too late for what is read

        def read() -> None:
            found = nearby_files(
                snapshot, exclusions, options, known=known, bounds=self._bounds, stopped=self._closed.is_set
            )
            self._then((*found, *others))
            self._read.put((snapshot.uri, _Held(found, self._clock(), saves, exclusions, options)))

        # A daemon: a file system that hangs must not keep the process.
        self._reader = threading.Thread(target=read, name="lacuna-nearby", daemon=True)
        self._reader.start()

    def _take(self) -> None:
        with suppress(Empty):
            while True:
                uri, held = self._read.get_nowait()
                self._held[uri] = held
                self._held.move_to_end(uri)
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)
