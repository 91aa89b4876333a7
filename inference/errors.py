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


class Busy(EngineError):  # noqa: N818 - a state of the queue, told to the client
    """Too many requests wait; the same one may succeed in ``retry_after_s`` whole seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message, ErrorCode.QUEUE_FULL)
        self.retry_after_s = retry_after_s


class ModelBroken(EngineError):  # noqa: N818 - a state of the model, told to the client
    """The loaded model gives no numbers: it is put out of use, since every later answer would be garbage too."""

    def __init__(
        self, message: str = "the model's output is not a number; check the checkpoint, or load it in another precision"
    ) -> None:
        super().__init__(message)
