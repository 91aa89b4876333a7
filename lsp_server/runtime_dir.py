"""Directories that only this user can enter: the directory is the lock on everything in it."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path

import platformdirs

from lsp_server.lifecycle_error import LifecycleError

MAX_SOCKET_PATH_BYTES = 100
"""A Unix socket's whole path must fit in 104 (macOS) or 108 bytes (Linux) with its end; beyond, binding fails."""


class RuntimeDirError(LifecycleError):
    """A directory cannot be trusted or made."""


def runtime_directory() -> Path:
    """Return this user's private directory for endpoints and locks: ``$LACUNA_RUNTIME_DIR`` or the platform's.

    Raises :class:`RuntimeDirError`.
    """
    if chosen := os.environ.get("LACUNA_RUNTIME_DIR"):
        return private_directory(Path(chosen).absolute())
    try:
        with warnings.catch_warnings(action="ignore"):  # without XDG_RUNTIME_DIR it falls back, and says so
            return private_directory(Path(platformdirs.user_runtime_dir("lacuna", appauthor=False)))
    except PermissionError as error:
        raise RuntimeDirError(f"{error}; or set LACUNA_RUNTIME_DIR to a directory of your own") from None


def log_directory() -> Path:
    """Return this user's directory for logs: ``$LACUNA_LOG_DIR`` or the platform's. Raises :class:`RuntimeDirError`."""
    chosen = os.environ.get("LACUNA_LOG_DIR") or platformdirs.user_log_dir("lacuna", appauthor=False)
    return private_directory(Path(chosen).absolute(), way_out="LACUNA_LOG_DIR")


def socket_directory(runtime: Path, name: str) -> Path:
    """Return where a socket called ``name`` fits: the runtime directory, or a short private one if that is too deep."""
    temporary = f"lacuna-{os.getuid()}" if sys.platform != "win32" else "lacuna"
    for directory in (runtime, Path(tempfile.gettempdir(), temporary), Path("/tmp", temporary)):
        if len(os.fsencode(directory / name)) <= MAX_SOCKET_PATH_BYTES:
            return directory if directory == runtime else private_directory(directory)
    raise RuntimeDirError(f"{runtime} is too long a path for a socket; set LACUNA_RUNTIME_DIR to a shorter one")


def private_directory(path: Path, *, way_out: str = "LACUNA_RUNTIME_DIR") -> Path:
    """Make ``path`` if need be, and see that nobody else can enter or replace it. Raises :class:`RuntimeDirError`.

    Our own directory's mode is put right; another user's directory, a link, or a place where others may put one, is
    refused. On Windows the profile's access rules do this work.
    """
    remedy = f"remove it, or set {way_out} to a directory of your own"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        if sys.platform == "win32":
            return path
        status, parent = path.lstat(), path.parent.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise RuntimeDirError(f"{path} is a link or a file, not a directory; {remedy}")
        if status.st_uid != os.geteuid():
            raise RuntimeDirError(f"{path} belongs to another user (uid {status.st_uid}); {remedy}")
        if parent.st_uid not in (0, os.geteuid()) or (parent.st_mode & 0o002 and not parent.st_mode & stat.S_ISVTX):
            raise RuntimeDirError(f"{path.parent} lets other users replace {path.name} in it; {remedy}")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise RuntimeDirError(f"{path} cannot be used: {error.strerror}; {remedy}") from None
    return path
