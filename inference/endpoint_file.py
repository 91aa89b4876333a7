"""The file that says where the worker listens. While it is there and ours, the worker may stay."""

from __future__ import annotations

import json
import os
from pathlib import Path

from inference.protocol import Endpoint, encode


class EndpointFile:
    """One worker's endpoint file at ``path``. Readable by its owner only: it holds the token."""

    def __init__(self, path: Path, endpoint: Endpoint) -> None:
        self.path = path
        self._content = json.dumps(encode(endpoint)).encode()

    def write(self) -> None:
        """Put the file there in one piece. Raises :class:`OSError`."""
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._content)
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def is_ours(self) -> bool:
        """Whether the file is still there and still this worker's."""
        try:
            return self.path.read_bytes() == self._content
        except OSError:
            return False

    def remove(self) -> None:
        """Take the file away, unless it has become another worker's."""
        if self.is_ours():
            self.path.unlink(missing_ok=True)
