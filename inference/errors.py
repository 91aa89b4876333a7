"""How a request ends when it is not answered: the exceptions every module below the engines may raise."""

from __future__ import annotations

from inference.protocol import ErrorCode


class Cancelled(Exception):  # noqa: N818 - an outcome, not an error
    """The request was given up between two denoising steps."""


class EngineError(Exception):
    """The engine cannot do what was asked. ``str(error)`` is one sentence that names the thing and the way out."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.INTERNAL) -> None:
        super().__init__(message)
        self.code = code
