"""Types a recording again, in its own time, and asks at every key as the editor does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from inference.protocol import ErrorCode, InfillResult
from lsp_server.bench.recording import Key, Recording
from lsp_server.context.contexts import Contexts
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot
from lsp_server.suggestions.suggest import suggest
from lsp_server.syntax.trees import SyntaxTrees
from lsp_server.worker_client import WorkerClient, WorkerError

_OVERTAKEN = {ErrorCode.SUPERSEDED, ErrorCode.CANCELLED}


@dataclass(frozen=True)
class Answer:
    """What came of one key that no other overtook.

    ``ms`` runs from the key to the answer, ``debounce_ms`` of it until it was asked; ``result`` is None when the
    model was not asked; ``silence`` is empty when there was something to show.
    """

    ms: float
    debounce_ms: float
    silence: str
    result: InfillResult | None


class Replay:
    """One document in one window; ``speed`` 2 types twice as fast as was recorded."""

    def __init__(self, recording: Recording, client: WorkerClient, options: Options, *, speed: float = 1.0) -> None:
        self._recording = recording
        self._client = client
        self._options = options
        self._speed = speed
        self._trees, self._contexts = SyntaxTrees(), Contexts()
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
            asking = asyncio.create_task(self._ask(snapshot, key.cursor, pressed))
            typed(key)
        if asking is not None:
            await _ended(asking, overtake=False)
        return self._answers

    async def _ask(self, snapshot: DocumentSnapshot, offset: int, pressed: float) -> None:
        await asyncio.sleep(self._options.debounce_ms / 1000)
        debounced = time.perf_counter()
        try:
            found = await suggest(
                snapshot,
                offset,
                client=self._client,
                options=self._options,
                trees=self._trees,
                contexts=self._contexts,
            )
        except WorkerError as error:
            if error.code not in _OVERTAKEN:
                raise
        else:
            ms, debounce_ms = (time.perf_counter() - pressed) * 1000, (debounced - pressed) * 1000
            self._answers.append(Answer(ms, debounce_ms, found.silence, found.result))


async def _ended(asking: asyncio.Task[None], *, overtake: bool) -> None:
    """Wait for a request to end, cancelled first if it is overtaken; raise what it raised."""
    if overtake:
        asking.cancel()
    await asyncio.wait([asking])
    if not asking.cancelled() and (error := asking.exception()):
        raise error
