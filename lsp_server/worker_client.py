"""The worker as the language server sees it: a Protocol with named states; features never see a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from inference.protocol import Draft, EditRequest, ErrorCode, Health, InfillRequest, InfillResult


class WorkerUnavailable(Exception):  # noqa: N818 - a state of the world, told to the user
    """No answer now: the worker is starting, loading, gone or failed. ``health`` says which, and the way out."""

    def __init__(self, health: Health) -> None:
        super().__init__(health.message)
        self.health = health


class WorkerError(Exception):
    """The worker answered with an error; ``code`` for programs, ``str(error)`` for people."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class WorkerClient(Protocol):
    """One worker, started or attached to when first needed. Never blocks the event loop; every wait has a limit."""

    @property
    def health(self) -> Health:
        """The last known health, without asking."""

    def on_health(self, listener: Callable[[Health], None]) -> None:
        """Call ``listener`` on the event loop each time the health changes."""

    async def start(self) -> None:
        """Start or attach in the background; returns at once and follows the loading through :attr:`health`."""

    async def infill(self, request: InfillRequest, on_draft: Callable[[Draft], None] | None = None) -> InfillResult:
        """Fill gaps. Cancelling the task closes the connection, which cancels within one denoising step.

        Raises :class:`WorkerUnavailable` at once while there is no ready worker (and sees to it that one gets started),
        :class:`WorkerError` for an error answer.
        """

    async def edit(self, request: EditRequest, on_draft: Callable[[Draft], None] | None = None) -> InfillResult:
        """Rewrite a selection; in all else as :meth:`infill`. An instruction needs ``health.instructions``."""

    async def restart(self) -> None:
        """Stop the worker, for every window, and start another. Raises :class:`LifecycleError`."""

    async def close(self) -> None:
        """Let go of the worker, which lives on for other windows."""
