"""A file on disk as text, read and written back without losing a byte of what is not changed."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

MAX_FILE_BYTES = 5_000_000
"""Larger files are data, not something a person types in."""

_BOM = b"\xef\xbb\xbf"


class SourceFileError(Exception):
    """``str(error)`` is one sentence that names the file and the way out."""


@dataclass(frozen=True)
class SourceFile:
    """``text`` is what stands in the file; line ends as they are, a byte order mark apart in ``bom``."""

    path: Path
    text: str
    bom: bool

    @classmethod
    def read(cls, path: Path) -> SourceFile:
        """Read a UTF-8 file. Raises :class:`SourceFileError`."""
        raw = _read_bytes(path)
        bom = raw.startswith(_BOM)
        try:
            text = raw[len(_BOM) if bom else 0 :].decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise SourceFileError(f"{path} is not UTF-8 (line {line}); convert it first, nothing was changed") from None
        return cls(path, text, bom)

    def write(self, text: str) -> None:
        """Replace the content, all or nothing, keeping the file's mode. Raises :class:`SourceFileError`.

        Refuses when the file is no longer what was read: somebody's edit would be lost.
        """
        if _read_bytes(self.path) != self._bytes(self.text):
            raise SourceFileError(f"{self.path} has changed meanwhile; nothing was written, run it again")
        target = self.path.resolve()  # a symbolic link stays one
        temporary = None
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(self._bytes(text))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(target.stat().st_mode & 0o7777)
            Path(temporary).replace(target)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise SourceFileError(f"{self.path} could not be written ({error.strerror}); it is as it was") from None

    def _bytes(self, text: str) -> bytes:
        return (_BOM if self.bom else b"") + text.encode("utf-8")


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except IsADirectoryError:
        raise SourceFileError(f"{path} is a folder; name a file") from None
    except OSError as error:
        raise SourceFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise SourceFileError(f"{path} is larger than {MAX_FILE_BYTES // 1_000_000} MB; Lacuna leaves such files alone")
    return raw
