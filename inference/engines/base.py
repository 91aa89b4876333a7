"""The engine Protocol: what the scheduler drives, one call at a time, on the model thread. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from inference.errors import Cancelled, EngineError, ModelBroken
from inference.protocol import Draft, EditRequest, InfillRequest, InfillResult

__all__ = ["Cancelled", "Engine", "EngineError", "Filling", "ModelBroken", "ReportProgress"]


ReportProgress = Callable[[float, str], None]
"""Called with progress in 0..1 and what is going on."""


class Filling(Protocol):
    """One request under way in an engine."""

    @property
    def outcome(self) -> InfillResult | EngineError | None:
        """How it ended; None as long as it has not. ``timings_ms.queue`` is left 0 for the scheduler to set."""


class Engine(Protocol):
    """Loads a model and fills gaps with it, several requests side by side. All methods are called from one thread."""

    @property
    def name(self) -> str:
        """``local``, ``mlx`` or ``vllm``."""

    @property
    def model(self) -> str:
        """The model's name as people know it, such as ``lacuna-default``."""

    @property
    def device(self) -> str:
        """Where it runs, such as ``cpu`` or ``cuda:0``; empty before :meth:`load`."""

    @property
    def takes_instructions(self) -> bool:
        """Whether the loaded model follows the instruction of an :class:`EditRequest`."""

    @property
    def room(self) -> int:
        """How many fillings may be under way together."""

    def load(self, report: ReportProgress) -> None:
        """Load the weights and warm up; after :meth:`unload` as fast as memory allows. Raises :class:`EngineError`."""

    def unload(self) -> None:
        """Give the device's memory back until the next :meth:`load`. Called only while nothing is under way."""

    def begin(
        self,
        request: InfillRequest | EditRequest,
        *,
        deadline: float | None,
        on_draft: Callable[[Draft], None] | None,
    ) -> Filling:
        """Take a request on; cheap, no forward is run.

        ``deadline`` is a ``time.monotonic()`` value: past it the best fill so far is the outcome, ``finish_reason``
        deadline. Raises :class:`EngineError` for what the model cannot do.
        """

    def advance(self, fillings: Sequence[Filling]) -> None:
        """Bring every filling one bounded piece nearer to its outcome: a piece of its prompt, or one denoising step.

        Whatever goes wrong with one filling becomes its outcome and does not touch the others; :class:`ModelBroken`
        says that no request can be trusted to this model any more. Fillings that are no longer passed are forgotten
        by :meth:`abandon`, not by leaving them out: left out, they wait.
        """

    def abandon(self, filling: Filling) -> None:
        """Nobody waits for this filling any more: free what it holds. Called for every filling without an outcome."""

    def close(self) -> None:
        """Free the weights for good. May be called twice."""
