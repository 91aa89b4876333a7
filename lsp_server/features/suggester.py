"""From a position in the editor to what may be shown there: what inline completion and the completion popup share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from inference.protocol import Draft, ErrorCode, FinishReason, Priority
from lsp_server.features.status import Status
from lsp_server.session import Session
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.suggest import Suggestion, Suggestions, suggest
from lsp_server.typing.flights import Answer, Ask, OnEarly
from lsp_server.typing.question import Question
from lsp_server.worker_client import WorkerError, WorkerUnavailable

DRAFT = "lacuna/draft"
_EXPECTED = {ErrorCode.SUPERSEDED, ErrorCode.CANCELLED, ErrorCode.NOT_READY, ErrorCode.QUEUE_FULL}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """Suggestions for the latest ``snapshot``, asked for at ``offset``; best first."""

    snapshot: DocumentSnapshot
    offset: int
    items: tuple[Suggestion, ...]


class Suggester:
    """Answers requests, at most one at a time for each document, and one for its popup: a newer one ends the older.

    ``asked_inline``: the editor has shown that it knows inline completion, whether or not it announced it.
    """

    def __init__(self, server: LanguageServer, session: Session, status: Status) -> None:
        self._server = server
        self._session = session
        self._status = status
        self.asked_inline = False
        self._running: dict[tuple[str, bool], asyncio.Task[Shown | None]] = {}
        """The request in flight of each document: the newest, all others are cancelled."""

    async def answer(
        self,
        uri: str,
        position: types.Position,
        *,
        invoked: bool = False,
        selected: types.SelectedCompletionInfo | None = None,
        popup: bool = False,
    ) -> Shown | None:
        """What to show for one request; None when there is nothing, or when a newer request or an edit overtook it.

        ``popup``: it is for the completion popup, which does not overtake ghost text. ``selected`` is the item selected
        there, which every suggestion then begins with.
        """
        running, place = self._running, (uri, popup)
        if older := running.get(place):
            older.cancel()  # Neovim never cancels by itself
        task = asyncio.create_task(self._shown(uri, position, invoked, selected))
        running[place] = task
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():  # the editor cancelled: pygls answers RequestCancelled
                raise
            return None
        finally:
            if running.get(place) is task:
                del running[place]

    async def _shown(
        self, uri: str, position: types.Position, invoked: bool, selected: types.SelectedCompletionInfo | None
    ) -> Shown | None:
        session, documents, began = self._session, self._session.documents, time.perf_counter()
        snapshot = documents.get(uri)
        if snapshot is None:
            return None
        reason = session.exclusions.why(snapshot, session.options)
        self._status.silent(snapshot.uri, reason)
        if reason:
            return None
        offset = snapshot.lines.offset(position.line, position.character, session.encoding)
        model, above = session.client.health.model, session.above(uri)
        asked = question = Question(snapshot, offset, session.options, invoked, model, above)
        chosen = self._chosen(snapshot, offset, selected) if selected else None
        if chosen:
            question = asked.with_edit(chosen.start_offset, chosen.end_offset, chosen.text)
        elif selected:
            return None
        try:
            with self._status.busy():
                answer = await session.flights.answer(question, self._ask_for(snapshot))
        except WorkerUnavailable as unavailable:
            self._status.health_changed(unavailable.health)
            return None
        except WorkerError as error:
            if error.code not in _EXPECTED:
                logger.warning("the worker refused: %s (%s)", error, error.code)
            return None
        except Exception:
            logger.exception("no suggestions for a %s document", snapshot.language_id)
            return None
        self._trace(snapshot, answer, (time.perf_counter() - began) * 1000)
        if not documents.is_latest(snapshot):
            return None  # typed on meanwhile: what was computed is for another text
        if chosen is None and answer.items and session.options.speculate:
            session.flights.speculate(question, answer.items[0], self._ask_for(snapshot))
        items = tuple(_extending(chosen, item) for item in answer.items) if chosen else answer.items
        return Shown(snapshot, offset, items)

    def _ask_for(self, snapshot: DocumentSnapshot) -> Ask:
        """How the model is asked while ``snapshot`` is what the editor has."""
        session = self._session

        async def ask(question: Question, priority: Priority, on_early: OnEarly | None) -> Suggestions:
            if not session.documents.is_latest(snapshot):
                return Suggestions(silence="typed on meanwhile")
            streams = session.options.drafts and question.snapshot is snapshot
            return await suggest(
                question.snapshot,
                question.offset,
                client=session.client,
                options=replace(question.options, candidates=question.candidates),
                invoked=question.invoked,
                priority=priority,
                on_draft=self._draft_listener(snapshot) if streams else None,
                on_early=on_early,
                trees=session.trees,
                contexts=session.contexts,
                surroundings=session.surroundings(snapshot.uri),
                exclusions=session.exclusions,
            )

        return ask

    def _chosen(
        self, snapshot: DocumentSnapshot, offset: int, selected: types.SelectedCompletionInfo
    ) -> Suggestion | None:
        """What the selected item will do; None if that is more than to complete what stands left of the cursor."""
        span = selected.range
        start, end = (
            snapshot.lines.offset(place.line, place.character, self._session.encoding)
            for place in (span.start, span.end)
        )
        is_plain = span.start.line == span.end.line and start <= offset <= end and selected.text
        if not is_plain or "\n" in selected.text or "\r" in selected.text:
            return None
        return Suggestion(selected.text, start, end, 1.0, FinishReason.GAP_END)

    def _trace(self, snapshot: DocumentSnapshot, answer: Answer, ms: float) -> None:
        found = answer.found
        result = found.result if found else None
        self._session.trace.answered(snapshot.version, ms, result, len(answer.items), answer.source)
        if found and found.silence:
            logger.debug("silent: %s", found.silence)

    def _draft_listener(self, snapshot: DocumentSnapshot) -> Callable[[Draft], None]:
        def send(draft: Draft) -> None:
            if self._session.documents.is_latest(snapshot):
                self._server.protocol.notify(
                    DRAFT,
                    {
                        "uri": snapshot.uri,
                        "version": snapshot.version,
                        "step": draft.step,
                        "maxSteps": draft.max_steps,
                        "fills": list(draft.fills),
                    },
                )

        return send


def _extending(chosen: Suggestion, item: Suggestion) -> Suggestion:
    """The suggestion behind the selected item as one replacement of what that item replaces."""
    covered = item.end_offset - item.start_offset
    return replace(
        item,
        text=chosen.text + item.text,
        start_offset=chosen.start_offset,
        end_offset=chosen.end_offset + covered,
    )
