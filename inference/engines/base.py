"""The engine Protocol: what the scheduler drives, one call at a time, on the model thread. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from inference.errors import Cancelled, EngineError
from inference.protocol import Draft, InfillRequest, InfillResult

__all__ = ["Cancelled", "Engine", "EngineError", "ReportProgress"]


ReportProgress = Callable[[float, str], None]
"""Called with progress in 0..1 and what is going on."""


class Engine(Protocol):
    """Loads a model and fills gaps with it. All methods are called from one thread, except the properties."""

    @property
    def name(self) -> str:
        """``local``, ``mlx`` or ``vllm``."""

    @property
    def model(self) -> str:
        """The model's name as people know it, such as ``lacuna-default``."""

    @property
    def device(self) -> str:
        """Where it runs, such as ``cpu`` or ``cuda:0``; empty before :meth:`load`."""

    def load(self, report: ReportProgress) -> None:
        """Load the weights and warm up. Raises :class:`EngineError`."""

    def infill(
        self,
        request: InfillRequest,
        *,
        deadline: float | None,
        cancelled: Callable[[], bool],
        on_draft: Callable[[Draft], None] | None,
    ) -> InfillResult:
        """Fill the request's gaps; ``timings_ms.queue`` is left 0 for the scheduler to set.

        ``deadline`` is a ``time.monotonic()`` value: past it the best fill so far is returned,
        ``finish_reason`` deadline.
        ``cancelled`` is polled before every denoising step; once true, :class:`Cancelled` is raised.
        Raises :class:`EngineError` for what the model cannot do.
        """

    def close(self) -> None:
        """Free the weights. May be called twice."""
