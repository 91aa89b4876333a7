"""From the URIs of editors to paths: VS Code writes ``file:///c%3A/x``, others ``file:///C:/x``, and mean one file."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

_DRIVE = re.compile(r"/+[A-Za-z]:(?=/|$)")
_ON_DISK = {"file", "vscode-notebook-cell"}
"""Schemes whose path is a path of this machine; a cell of a notebook has that of its notebook."""


def path_of(uri: str, *, windows: bool = os.name == "nt") -> PurePath | None:
    """The one path that a URI means, ``..`` resolved and the drive in lower case; None if it means no file here.

    Only looks at the text: no link is followed, nothing needs to exist.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path)
    if parts.scheme.lower() not in _ON_DISK or not path.startswith("/") or "\0" in path:
        return None
    if not windows:
        return PurePosixPath(os.path.normpath(re.sub("^/+", "/", path)))
    if drive := _DRIVE.match(path):
        path = path[drive.end() - 2].lower() + path[drive.end() - 1 :]
    elif parts.netloc and parts.netloc != "localhost":
        path = f"//{unquote(parts.netloc).lower()}{path}"
    return PureWindowsPath(_without_dots(path))


def folder_of(uri: str) -> Path | None:
    """A workspace folder's path on this machine; None if its URI names none."""
    path = path_of(uri)
    return Path(path) if path is not None else None


def _without_dots(path: str) -> str:
    head, *rest = path.replace("\\", "/").split("/")
    kept: list[str] = []
    for name in rest:
        if name == ".." and kept and kept[-1]:
            kept.pop()
        elif name not in (".", ".."):
            kept.append(name)
    return "/".join([head, *kept])
