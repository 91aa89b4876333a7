"""What one editor window remembers about the contexts that it has sent. Only one thread touches it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from inference.protocol import InfillResult
from lsp_server.context.choosing import Place, choose
from lsp_server.context.file_index import FileIndexes
from lsp_server.context.room import CHARACTERS_PER_TOKEN, Room, characters_per_token
from lsp_server.context.snippets import render
from lsp_server.context.surroundings import Surroundings
from lsp_server.context.window import Budget, Window
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap
from lsp_server.syntax.languages import model_language_id

SNIPPETS_LAST_S = 300.0
"""So long other files may change before pieces of them are chosen again."""


@dataclass(frozen=True)
class _Held:
    window: Window
    asked: Budget
    chosen_at: float


class Contexts:
    """The window of each document, and the room that the model's answers have shown. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._densities: dict[str, float] = {}
        """Characters per token of each document, as last read."""
        self._room = Room()
        self._model = ""
        self.indexes = FileIndexes()

    def window(
        self, snapshot: DocumentSnapshot, gap: Gap, budget: Budget, surroundings: Surroundings | None = None
    ) -> Window:
        """The window that the model reads for this gap; that of the last time wherever it still serves.

        ``surroundings`` are only looked at when snippets must be chosen: the cursor is elsewhere, a file was saved, or
        some minutes have passed.
        """
        now, held, asked = self._clock(), self._held.get(snapshot.uri), budget
        room = self._room.characters(self._densities.get(snapshot.uri, CHARACTERS_PER_TOKEN))
        budget = asked if room is None else asked.within(room)
        window = held.window.following(snapshot.text, gap, budget) if held and held.asked == asked else None
        if window is None:
            held, window = None, Window.around(snapshot.text, gap, budget)
        chosen_at = held.chosen_at if held else now
        if held is None or now - chosen_at > SNIPPETS_LAST_S:
            place = Place(snapshot, gap, window.start, gap.end + len(window.suffix))
            snippets = self.snippets(place, surroundings or Surroundings(), budget.snippets)
            window, chosen_at = replace(window, snippets=snippets), now
        self._held[snapshot.uri] = _Held(window, asked, chosen_at)
        return window

    def snippets(self, place: Place, surroundings: Surroundings, characters: int) -> str:
        """The best of ``surroundings`` for one gap, as comments of at most so many characters."""
        if not characters:
            return ""
        language_id = model_language_id(place.document.language_id, place.document.uri)
        return render(choose(place, surroundings, self.indexes), language_id, characters)

    def learn(self, uri: str, sent: int, result: InfillResult) -> None:
        """Take in what an answer to ``sent`` characters tells about the model's room."""
        known = self._room if result.model == self._model else Room()
        self._room, self._model = known.after(result.usage), result.model
        self._densities[uri] = characters_per_token(sent, result.usage)
        if result.usage.truncated_tokens:
            self._held.pop(uri, None)  # the worker had to cut: the next window is smaller

    def saved(self) -> None:
        """Choose snippets again when next they are needed: what was being worked on has come to an end."""
        self._held = {uri: replace(held, chosen_at=float("-inf")) for uri, held in self._held.items()}

    def forget(self, uri: str) -> None:
        """Drop a document that was closed."""
        self._held.pop(uri, None)
        self._densities.pop(uri, None)
