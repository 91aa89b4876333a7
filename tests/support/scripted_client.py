"""A worker client that obeys the Protocol and says what a script tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from inference.protocol import (
    Choice,
    Draft,
    EditRequest,
    ErrorCode,
    Fill,
    FinishReason,
    Health,
    InfillRequest,
    InfillResult,
    Masked,
    Timings,
    Usage,
    WorkerState,
)
from lsp_server.lifecycle_error import LifecycleError
from lsp_server.worker_client import WorkerError, WorkerUnavailable

Request = InfillRequest | EditRequest


@dataclass(frozen=True)
class Script:
    """``hold``: every request waits until released. ``error``: the code of an error answer. ``stuck``: no restart.

    ``in_turn``: the text of each gap in the order they are asked for, instead of ``fills``.
    """

    fills: tuple[str, ...] = ("42",)
    confidence: float = 0.9
    confidence_floor: float = 0.2
    state: str = "ready"
    hold: bool = False
    error: str = ""
    stuck: bool = False
    in_turn: tuple[str, ...] = ()
    instructions: bool = False


class ScriptedClient:
    """``heard`` is told "infill", "edit", "cancelled", "answered", "start" and "close" as they happen."""

    def __init__(self, script: Script, heard: Callable[[str, Request | None], None] = lambda *_: None) -> None:
        self.script = script
        self.requests: list[InfillRequest] = []
        self.edits: list[EditRequest] = []
        self.gate = asyncio.Semaphore(0)
        self._heard = heard
        self._in_turn = list(script.in_turn)
        self._listeners: list[Callable[[Health], None]] = []
        self._health = Health(
            state=WorkerState(script.state),
            model="fake",
            engine="script",
            device="cpu",
            instructions=script.instructions,
        )

    @property
    def health(self) -> Health:
        return self._health

    def on_health(self, listener: Callable[[Health], None]) -> None:
        self._listeners.append(listener)

    def become(self, state: str, message: str = "") -> None:
        self._health = replace(self._health, state=WorkerState(state), message=message)
        for listener in self._listeners:
            listener(self._health)

    async def start(self) -> None:
        self._heard("start", None)

    async def restart(self) -> None:
        if self.script.stuck:
            raise LifecycleError("the old worker does not stop")
        self._heard("start", None)
        self.become("ready")

    async def infill(self, request: InfillRequest, on_draft: Callable[[Draft], None] | None = None) -> InfillResult:
        self.requests.append(request)
        return await self._fill("infill", request, on_draft)

    async def edit(self, request: EditRequest, on_draft: Callable[[Draft], None] | None = None) -> InfillResult:
        self.edits.append(request)
        return await self._fill("edit", request, on_draft)

    async def _fill(self, event: str, request: Request, on_draft: Callable[[Draft], None] | None) -> InfillResult:
        if self._health.state is not WorkerState.READY:
            raise WorkerUnavailable(self._health)
        self._heard(event, request)
        if self.script.hold:
            try:
                await self.gate.acquire()
            except asyncio.CancelledError:
                self._heard("cancelled", request)
                raise
        if self.script.error:
            raise WorkerError(ErrorCode(self.script.error), "as the script says")
        if on_draft:
            on_draft(Draft(1, 2, self.script.fills[:1]))
        self._heard("answered", request)
        gaps = sum(isinstance(one, Masked) for one in request.segments) if isinstance(request, InfillRequest) else 1
        return self.result(gaps)

    def result(self, gaps: int = 1) -> InfillResult:
        choices = [(text,) * gaps for text in self.script.fills]
        if self._in_turn:
            choices = [tuple(self._in_turn.pop(0) for _ in range(gaps))]
        return InfillResult(
            choices=tuple(
                Choice(tuple(map(Fill, texts)), self.script.confidence, FinishReason.GAP_END) for texts in choices
            ),
            usage=Usage(prompt_tokens=10, cached_tokens=0, canvas_tokens=16, denoising_steps=4),
            timings_ms=Timings(queue=0, encode=1, denoise=2, total=3),
            model="fake",
            engine="script",
            confidence_floor=self.script.confidence_floor,
        )

    async def close(self) -> None:
        self._heard("close", None)
