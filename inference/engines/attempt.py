"""Doing what may fail with one request only: the failure as a value, without the tensors that a traceback holds."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import torch

from inference.errors import Cancelled, EngineError, ModelBroken
from inference.protocol import ErrorCode

_log = logging.getLogger(__name__)

_ALLOCATORS_SAY = ("can't allocate memory", "not enough memory")
"""How torch's CPU allocators put it, in a plain RuntimeError."""


class OutOfMemory(EngineError):  # noqa: N818 - as ModelBroken
    """The device's memory, or the machine's, does not suffice."""

    def __init__(self, doing: str) -> None:
        super().__init__(
            f"out of memory while {doing}; ask for a shorter gap or fewer candidates, or load a smaller model",
            ErrorCode.OUT_OF_MEMORY,
        )


def attempt(work: Callable[[], None], doing: str) -> EngineError | None:
    """Do ``work`` and return what went wrong, None if nothing did; :class:`ModelBroken` and ``Cancelled`` pass."""
    try:
        work()
    except (ModelBroken, Cancelled):
        raise
    except EngineError as error:
        return error.with_traceback(None)
    except Exception as error:
        if is_out_of_memory(error):
            return OutOfMemory(doing)
        # what it says may quote the user's buffer and is left to DEBUG
        frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        _log.error("%s failed: %s\n%s", doing, type(error).__name__, frames)
        _log.debug("%s failed: %r", doing, error)
        return EngineError(f"{doing} failed ({type(error).__name__}); the worker's log says where")
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python says so."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return type(error) is RuntimeError and any(words in str(error) for words in _ALLOCATORS_SAY)
