"""Types a recording again, in its own time, and asks at every key as the editor does."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from inference.protocol import ErrorCode, InfillResult, Priority
from lsp_server.bench.recording import Key, Recording
from lsp_server.context.contexts import Contexts
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.suggestions.suggest import Suggestions, suggest
from lsp_server.syntax.trees import SyntaxTrees
from lsp_server.typing.flights import Answer as Answered
from lsp_server.typing.flights import Flights, OnEarly, Source
from lsp_server.typing.question import Question
from lsp_server.worker_client import WorkerClient, WorkerError

_OVERTAKEN = {ErrorCode.SUPERSEDED, ErrorCode.CANCELLED}


@dataclass(frozen=True)
class Answer:
    """What came of one key that no other overtook.

    ``ms`` runs from the key to the answer, ``debounce_ms`` of it until it was asked; ``result`` is None when the
    model was not asked for this key; ``silence`` is empty when there was something to show.
    """

    ms: float
    debounce_ms: float
    silence: str
    result: InfillResult | None
    source: Source = Source.MODEL


class Replay:
    """One document in one window; ``speed`` 2 types twice as fast as was recorded."""

    def __init__(self, recording: Recording, client: WorkerClient, options: Options, *, speed: float = 1.0) -> None:
        self._recording = recording
        self._client = client
        self._options = options
        self._speed = speed
        self._trees, self._contexts, self._flights = SyntaxTrees(), Contexts(), Flights()
        self.requests: Counter[Priority] = Counter()
        """How often the model was asked, what was overtaken included."""
        self._answers: list[Answer] = []

    async def run(self, typed: Callable[[Key], None] = lambda key: None) -> list[Answer]:
        """Type everything, wait for the last answer, and return all there were.

        Raises what :func:`suggest` raises, but not that a newer request overtook an older one.
        """
        recording = self._recording
        snapshot = DocumentSnapshot(f"file:///{recording.name}", 0, recording.language_id, recording.text)
        began, asking = time.perf_counter(), None
        for version, key in enumerate(recording.keys, 1):
            await asyncio.sleep(key.t_ms / 1000 / self._speed - (time.perf_counter() - began))
            if asking is not None:
                await _ended(asking, overtake=True)
            pressed = time.perf_counter()
            span = (
                snapshot.lines.position(key.at, Encoding.UTF32),
                snapshot.lines.position(key.at + key.delete, Encoding.UTF32),
            )
            snapshot = snapshot.edited([Change(key.insert, span)], version, Encoding.UTF32)
            self._flights.rhythm.key()
            asking = asyncio.create_task(self._ask(snapshot, key.cursor, pressed))
            typed(key)
        if asking is not None:
            await _ended(asking, overtake=False)
        self._flights.forget(snapshot.uri)
        return self._answers

    async def _ask(self, snapshot: DocumentSnapshot, offset: int, pressed: float) -> None:
        question = Question(snapshot, offset, self._options)
        try:
            answer = await self._flights.answer(question, self._suggest)
        except WorkerError as error:
            if error.code not in _OVERTAKEN:
                raise
            return
        self._answers.append(_told(answer, (time.perf_counter() - pressed) * 1000))
        if answer.items and self._options.speculate:
            self._flights.speculate(question, answer.items[0], self._suggest)

    async def _suggest(self, question: Question, priority: Priority, on_early: OnEarly | None) -> Suggestions:
        found = None
        try:
            found = await suggest(
                question.snapshot,
                question.offset,
                client=self._client,
                options=question.options,
                priority=priority,
                on_early=on_early,
                trees=self._trees,
                contexts=self._contexts,
            )
        finally:
            self.requests[priority] += found is None or found.result is not None
        return found


async def _ended(asking: asyncio.Task[None], *, overtake: bool) -> None:
    """Wait for a request to end, cancelled first if it is overtaken; raise what it raised."""
    if overtake:
        asking.cancel()
    await asyncio.wait([asking])
    if not asking.cancelled() and (error := asking.exception()):
        raise error


def _told(answer: Answered, ms: float) -> Answer:
    found = answer.found
    silence = "" if answer.items else (found.silence if found else "") or "nothing more"
    return Answer(ms, answer.debounced_ms, silence, found.result if found else None, answer.source)
