"""Recorded typing: a document, and what was done to it when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT = Path(__file__).with_name("typing.json")
"""Comes with the package: a method gets written. Made up, in the rhythm of a person: about 140 ms from key to key."""


class BadRecording(ValueError):  # noqa: N818 - what it is about, not that it is an error
    """The file is not a recording; one sentence that names the place."""


@dataclass(frozen=True)
class Key:
    """At ``t_ms`` milliseconds, ``delete`` characters behind the offset ``at`` gave way to ``insert``.

    ``back`` is how many characters of it then stand behind the cursor, such as a closer that the editor inserted.
    """

    t_ms: float
    at: int
    insert: str = ""
    delete: int = 0
    back: int = 0

    @property
    def cursor(self) -> int:
        """The offset of the cursor afterwards."""
        return self.at + len(self.insert) - self.back


@dataclass(frozen=True)
class Recording:
    """``text`` is the document before the first key; offsets count code points."""

    name: str
    language_id: str
    text: str
    keys: tuple[Key, ...]


def read_recording(path: Path) -> Recording:
    """Read ``{"name", "language_id", "text", "keys": [{"t_ms", "at", "insert" or "delete", "back"}]}``.

    Raises :class:`BadRecording`, :class:`OSError`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadRecording(f"{path} is not JSON ({error})") from error
    try:
        keys = tuple(_key(key) for key in content["keys"])
        recording = Recording(str(content["name"]), str(content["language_id"]), str(content["text"]), keys)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecording(f"{path} is no recording of typing ({error!r})") from error
    _check(recording, path)
    return recording


def _key(content: dict[str, Any]) -> Key:
    return Key(
        t_ms=float(content["t_ms"]),
        at=int(content["at"]),
        insert=str(content.get("insert", "")),
        delete=int(content.get("delete", 0)),
        back=int(content.get("back", 0)),
    )


def _check(recording: Recording, path: Path) -> None:
    """See that every key happens inside the document, one after the other."""
    length, now = len(recording.text), 0.0
    for number, key in enumerate(recording.keys, 1):
        if not (0 <= key.at <= key.at + key.delete <= length and 0 <= key.back <= len(key.insert)):
            raise BadRecording(f"{path}: key {number} is outside the document, which has {length} characters then")
        if key.t_ms < now:
            raise BadRecording(f"{path}: key {number} comes before the one before it")
        length, now = length + len(key.insert) - key.delete, key.t_ms
    if not recording.keys:
        raise BadRecording(f"{path} holds no keys")
