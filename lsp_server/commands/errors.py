"""How a command says that it cannot."""

from __future__ import annotations


class CommandError(Exception):
    """``str(error)`` is one sentence that names the thing and the way out; ``exit_code`` 2 usage, 3 could not."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        super().__init__(message)
        self.exit_code = exit_code
