"""Requests under way, at most one for each document: kept while they fit what is typed, cancelled when they do not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from inference.protocol import Priority
from lsp_server.suggestions.suggest import Suggestion, Suggestions
from lsp_server.typing.anchor import Anchor, heads
from lsp_server.typing.cache import TypeThrough
from lsp_server.typing.question import Question
from lsp_server.typing.rhythm import Rhythm
from lsp_server.worker_client import WorkerError, WorkerUnavailable

GRACE_S = 0.15
"""So long a request that nobody waits for any more goes on: editors cancel at a key and ask again a little later."""

IDLE_S = 0.3
"""Who lets a suggestion stand for so long reads it: time to compute what comes next."""

MAX_AHEAD = 40
"""A request that the user has left this many characters behind is not worth waiting for."""

_REMEMBERED = 256

OnEarly = Callable[[Suggestion], None]
Ask = Callable[[Question, Priority, OnEarly | None], Awaitable[Suggestions]]
"""How the model is asked, and who hears of first lines; raises what :func:`suggest` does."""


logger = logging.getLogger(__name__)


class Source(StrEnum):
    """Where an answer came from."""

    MODEL = "model"
    CACHE = "cache"
    FLIGHT = "flight"
    """the model, asked for an earlier key or ahead of time"""


@dataclass(frozen=True)
class Answer:
    """What may be shown, and ``found``, what the model said, if it was asked for this very question."""

    items: tuple[Suggestion, ...]
    source: Source
    found: Suggestions | None = None
    debounced_ms: float = 0.0


@dataclass
class _Flight:
    question: Question
    task: asyncio.Task[Suggestions]
    background: bool = False
    started: bool = True
    waiting: int = 0
    early: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def may_be_early(self) -> bool:
        return self.question.options.early_answers and not self.early.is_set()

    def fits(self, question: Question) -> bool:
        """Whether ``question`` is this one with something typed since."""
        asked = self.question
        if not self.started or asked.scope != question.scope or asked.candidates < question.candidates:
            return False
        reach = asked.options.suffix_characters
        anchor = Anchor.at(asked.snapshot.text, asked.offset, reach)
        text, offset = question.snapshot.text, question.offset
        if all(head != anchor.head for head, _ in heads(text, offset, reach)):
            return False
        return any(True for _ in anchor.typed(text, offset, 0 if self.background else MAX_AHEAD))


class Flights:
    """Answers questions out of ``cache``, out of what is under way, or by asking; one event loop's own."""

    def __init__(self, cache: TypeThrough | None = None, rhythm: Rhythm | None = None) -> None:
        self.cache = cache or TypeThrough()
        self.rhythm = rhythm or Rhythm()
        self._flights: dict[str, _Flight] = {}
        self._speculated: OrderedDict[tuple[object, ...], None] = OrderedDict()

    async def answer(self, question: Question, ask: Ask) -> Answer:
        """The answer to a question; waits for the debounce and the model if it is not known.

        Cancelling it lets the request go on for :data:`GRACE_S`. Raises what ``ask`` does.
        """
        if hit := self.cache.find(question):
            self._leave(question, hit.items[0] if hit.items else None)
            return Answer(hit.items, Source.CACHE)
        joined, debounced_ms, waited = None, 0.0, question.invoked
        while True:
            flight = self._flights.get(question.snapshot.uri)
            if flight and flight is not joined and flight.fits(question):
                joined, waited = flight, True
                with contextlib.suppress(WorkerError):
                    await self._wait(flight)
            elif not waited:
                self.forget(question.snapshot.uri)
                debounced_ms, waited = self.rhythm.wait_ms(question.options.debounce_ms, in_word=question.in_word), True
                await asyncio.sleep(debounced_ms / 1000)
            else:
                found = await self._wait(self._start(question, ask))
                return Answer(found.items, Source.MODEL, found, debounced_ms)
            if hit := self.cache.find(question):
                return Answer(hit.items, Source.FLIGHT)

    def speculate(self, question: Question, shown: Suggestion, ask: Ask) -> None:
        """Compute what the user will be shown after taking ``shown``, once he reads it, and only once."""
        uri, following = question.snapshot.uri, question.accepted(shown)
        if uri in self._flights or self.cache.find(following):
            return
        mark = _mark(following)
        if mark in self._speculated:
            return

        async def later() -> Suggestions:
            await asyncio.sleep(IDLE_S)
            flight.started = True
            self._speculated[mark] = None
            while len(self._speculated) > _REMEMBERED:
                self._speculated.popitem(last=False)
            return await self._asked(following, ask, Priority.BACKGROUND)

        flight = _Flight(following, asyncio.create_task(later()), background=True, started=False)
        self._take_off(flight)

    def forget(self, uri: str) -> None:
        """Stop what is under way for a document, which was closed or is elsewhere by now."""
        if flight := self._flights.pop(uri, None):
            flight.task.cancel()

    def _start(self, question: Question, ask: Ask) -> _Flight:
        early = asyncio.Event()
        task = asyncio.create_task(self._asked(question, ask, Priority.INTERACTIVE, early))
        flight = _Flight(question, task, early=early)
        self._take_off(flight)
        return flight

    def _take_off(self, flight: _Flight) -> None:
        uri = flight.question.snapshot.uri
        self.forget(uri)
        self._flights[uri] = flight

        def landed(task: asyncio.Task[Suggestions]) -> None:
            if self._flights.get(uri) is flight:
                del self._flights[uri]
            error = None if task.cancelled() else task.exception()
            if error and not flight.waiting and not isinstance(error, (WorkerError, WorkerUnavailable)):
                logger.error("a request that nobody waits for failed", exc_info=error)

        flight.task.add_done_callback(landed)

    async def _asked(
        self, question: Question, ask: Ask, priority: Priority, early: asyncio.Event | None = None
    ) -> Suggestions:
        began, shown = time.perf_counter(), list[Suggestion]()

        def show(first_lines: Suggestion) -> None:
            shown.append(first_lines)
            self.cache.keep(question, shown)
            if early is not None:
                early.set()

        found = await ask(question, priority, show if early and question.options.early_answers else None)
        if shown:
            found = replace(found, items=extending(shown[0], found.items))
        if question.invoked and (hit := self.cache.find(replace(question, invoked=False))):
            found = replace(found, items=_first(hit.items, found.items)[: question.candidates])
        if found.result is not None:
            self.cache.keep(question, found.items)
            if priority is Priority.INTERACTIVE:
                self.rhythm.answered((time.perf_counter() - began) * 1000)
        return found

    async def _wait(self, flight: _Flight) -> Suggestions:
        """The whole answer, or the first lines if these may be shown: then the rest goes on in the background."""
        flight.waiting += 1
        early = asyncio.create_task(flight.early.wait()) if flight.may_be_early else None
        try:
            if early is not None:
                await asyncio.wait((flight.task, early), return_when=asyncio.FIRST_COMPLETED)
            if (
                early is not None
                and early.done()
                and not flight.task.done()
                and (hit := self.cache.find(flight.question))
            ):
                return Suggestions(hit.items)
            return await asyncio.shield(flight.task)
        finally:
            if early is not None:
                early.cancel()
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done() and not flight.early.is_set():
                asyncio.get_running_loop().call_later(GRACE_S, self._give_up, flight)

    def _leave(self, question: Question, shown: Suggestion | None) -> None:
        """Cancel what is under way unless it is ahead of what is shown, or will still serve."""
        flight = self._flights.get(question.snapshot.uri)
        if flight is None or flight.fits(question):
            return
        ahead = shown and flight.background and flight.started
        if not (ahead and shown and _mark(question.accepted(shown)) == _mark(flight.question)):
            self.forget(question.snapshot.uri)

    def _give_up(self, flight: _Flight) -> None:
        uri = flight.question.snapshot.uri
        if not flight.waiting and self._flights.get(uri) is flight:
            self.forget(uri)


def _first(shown: tuple[Suggestion, ...], items: tuple[Suggestion, ...]) -> tuple[Suggestion, ...]:
    """What the user sees and what else there is: who asks for more does not lose it."""
    known = {item.text for item in shown}
    return shown + tuple(item for item in items if item.text not in known)


def extending(shown: Suggestion, items: tuple[Suggestion, ...]) -> tuple[Suggestion, ...]:
    """The items that go on where ``shown`` ends: what the user has seen is never changed, only extended."""
    return tuple(item for item in items if item.text.startswith(shown.text)) or (shown,)


def _mark(question: Question) -> tuple[object, ...]:
    text, offset, reach = question.snapshot.text, question.offset, question.options.suffix_characters
    return (*question.scope, Anchor.at(text, offset, reach))
