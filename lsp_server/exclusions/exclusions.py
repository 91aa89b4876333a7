"""Where Lacuna stays silent, and what it does not read: one sentence says why."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from lsp_server.exclusions.ignore_rules import IgnoreRules
from lsp_server.exclusions.secrets import secret_glob
from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.uris import path_of

MAX_CHARACTERS = 5_000_000
DECISIONS_LAST_S = 5.0
"""So long an answer stands for a document that is asked about at each key."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_CELL = "vscode-notebook-cell"
_WRITTEN = {"file", "untitled", _CELL, ""}
"""Schemes of what a person writes. Others are views: of a revision, an output, a terminal, another machine's file."""

_KEPT = 500
_DEEPEST = 64


class Exclusions:
    """What one window may read and complete. ``roots`` are its workspace folders; ``trusted``: the user trusts them.

    In a folder that is not trusted a document gets suggestions from its own text alone, and ignore files can only
    exclude, never include again. ``clock`` counts seconds.
    """

    def __init__(
        self, roots: Sequence[Path] = (), *, trusted: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.roots = tuple(roots)
        self.trusted = trusted
        self._clock = clock
        self._rules = IgnoreRules(widening=trusted, clock=clock)
        self._decisions: dict[str, tuple[float, str]] = {}

    def why(self, snapshot: DocumentSnapshot, options: Options) -> str:
        """One sentence that says why this document gets no suggestions and is not read; empty if it may be."""
        if not options.enabled:
            return "Suggestions are switched off."
        if snapshot.language_id in options.disabled_languages:
            return f"Suggestions are switched off for {snapshot.language_id}."
        if len(snapshot.text) > MAX_CHARACTERS:
            return f"{_name(snapshot.uri)} is larger than {MAX_CHARACTERS // 1_000_000} MB."
        return self.why_uri(snapshot.uri, options)

    def why_uri(self, uri: str, options: Options) -> str:
        """As :meth:`why`, of what a URI alone tells. The file system is asked once in some seconds."""
        if options.excluded_files and (pattern := _excluded_by(PurePosixPath(_path_text(uri)), options)):
            return f"{_name(uri)} is excluded by {pattern!r}."
        made_at, decision = self._decisions.get(uri, (float("-inf"), ""))
        return decision if self._clock() - made_at < DECISIONS_LAST_S else self._decided(uri)

    def prepare(self, uri: str) -> threading.Thread:
        """Decide about a document that was just opened, in a thread: ignore files are read before the first key."""
        thread = threading.Thread(target=self._decided, args=(uri,), name="lacuna-exclusions", daemon=True)
        thread.start()
        return thread

    def saved(self) -> None:
        """Decide anew: an ignore file may have been written."""
        self._decisions = {}

    def root_of(self, path: Path) -> Path | None:
        """The inmost workspace folder that holds a file."""
        return max(
            (root for root in self.roots if path.is_relative_to(root)), key=lambda root: len(root.parts), default=None
        )

    def may_read(self, path: Path, options: Options, *, folder: bool = False) -> bool:
        """Whether a file beside the open documents may be opened, or a folder searched. Not for the event loop.

        Links are not followed here: who reads leaves them alone.
        """
        if not self.trusted or secret_glob(path) or _excluded_by(PurePosixPath(path.as_posix()), options):
            return False
        return not self._rules.why(path, self._top(path), folder=folder)

    def _decided(self, uri: str) -> str:
        made_at, decision = self._clock(), self._decide(uri)
        self._decisions = {} if len(self._decisions) >= _KEPT else self._decisions
        self._decisions[uri] = (made_at, decision)
        return decision

    def _decide(self, uri: str) -> str:
        if (scheme := _scheme(uri)) not in _WRITTEN:
            return f"{scheme}: documents are shown, not written; they get no suggestions."
        if glob := secret_glob(PurePosixPath(_path_text(uri))):
            return f"{_name(uri)} may hold secrets ({glob}); it is never read."
        found = path_of(uri.replace("#", "%23").replace("?", "%3F") if scheme == "file" else uri)
        if found is None or found.name == "":
            return ""
        path = Path(found)
        if leads := self._leads_astray(path):
            return leads
        rule = self._rules.why(path, self._top(path))
        return f"{path.name} is ignored: {rule}." if rule else ""

    def _leads_astray(self, path: Path) -> str:
        """Why a file that is a link, or lies behind one, is not what its name says."""
        try:
            target = Path(os.path.realpath(path))
        except (OSError, ValueError):
            return f"{path.name} cannot be looked at; it is not read."
        if target == path:
            return ""
        if glob := secret_glob(target):
            return f"{path.name} leads to {target.name}, which may hold secrets ({glob}); it is never read."
        root = self.root_of(path)
        if root is not None and not any(target.is_relative_to(os.path.realpath(one)) for one in self.roots):
            return f"{path.name} leads out of the workspace, to {target}; it is not read."
        rule = self._rules.why(target, self._top(target))
        return f"{path.name} leads to {target.name}, which is ignored: {rule}." if rule else ""

    def _top(self, path: Path) -> Path:
        """Up to where ignore files count: the repository that holds the file, else its workspace folder, else its own.

        A repository reaches further up than a workspace folder in it.
        """
        folders = path.parents[:_DEEPEST]
        repository = next((folder for folder in folders if os.path.lexists(folder / ".git")), None)
        candidates = [one for one in (repository, self.root_of(path)) if one is not None]
        return min(candidates, key=lambda one: len(one.parts), default=path.parent)


def _scheme(uri: str) -> str:
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def _path_text(uri: str) -> str:
    """The path in a URI, percent signs read, whatever the scheme.

    What looks like a fragment belongs to it, but for a cell: there it is the cell's, and the path its notebook's.
    """
    match = _SCHEME.match(uri)
    rest = uri[match.end() :] if match else uri
    if match and match[1].lower() == _CELL:
        rest = rest.partition("#")[0]
    if rest.startswith("//"):
        rest = "/" + rest[2:].partition("/")[2]
    return unquote(rest).replace("\\", "/")


def _name(uri: str) -> str:
    return PurePosixPath(_path_text(uri)).name


def _excluded_by(path: PurePosixPath, options: Options) -> str:
    globs = options.excluded_files
    return next((glob for glob in globs if _matches(path, glob)), "") if globs else ""


def _matches(path: PurePosixPath, glob: str) -> bool:
    return fnmatchcase(path.name, glob) or fnmatchcase(str(path), glob if glob.startswith("/") else f"*/{glob}")
