"""Types in a document of a real server, in this process, and sees the ghost text after each key.

Keys are text, or one of: ``⌫`` (delete to the left), ``←`` ``→`` ``↓`` ``↑`` (move), ``⇥`` ``⇥word`` ``⇥line`` (take
the first suggestion, or so much of it), ``?`` (ask by hand), ``@0:text`` (type elsewhere: text at an offset from the
start, or from the end if it is negative), ``=label`` (the popup's selected item, for what stands left of the cursor),
nothing (look again). A cursor within typed text stays there: the editor closed a bracket by itself.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from lsprotocol import types

from inference.protocol import Choice, Draft, Fill, FinishReason, Fixed, InfillRequest, InfillResult
from lsp_server.options import Options
from lsp_server.positions import Encoding, LineIndex
from lsp_server.server import create_server
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.typing.rhythm import Rhythm
from tests.support.scripted_client import Script, ScriptedClient

CURSOR = "‸"
URI = "file:///project/typed.py"
_MOVES = {"←": -1, "→": 1}

Says = Callable[[str], tuple[str, ...]]
"""The candidates of a model that has read this prefix, with LF line ends."""


class KnowingClient(ScriptedClient):
    """Says what ``says`` gives for the text before the gap."""

    def __init__(self, says: Says, script: Script = Script()) -> None:  # noqa: B008 - frozen
        super().__init__(script)
        self._says = says

    async def infill(self, request: InfillRequest, on_draft: Callable[[Draft], None] | None = None) -> InfillResult:
        found = await super().infill(request, on_draft)
        prefix = request.segments[-3]
        assert isinstance(prefix, Fixed)
        choices = (
            Choice((Fill(text),), self.script.confidence, FinishReason.GAP_END) for text in self._says(prefix.text)
        )
        return InfillResult(
            choices=tuple(choices),
            usage=found.usage,
            timings_ms=found.timings_ms,
            model=found.model,
            engine=found.engine,
            confidence_floor=found.confidence_floor,
        )


class Typist:
    """``text`` holds the cursor. ``encoding`` is what the editor counts in; ``options`` default to no waiting."""

    def __init__(
        self,
        text: str,
        client: ScriptedClient,
        *,
        language_id: str = "python",
        encoding: Encoding = Encoding.UTF16,
        options: Options | None = None,
    ) -> None:
        self.client, self._encoding = client, encoding
        self.text, self.cursor = text.replace(CURSOR, ""), text.index(CURSOR)
        self.items: list[types.InlineCompletionItem] = []
        self._server = create_server(lambda: client)
        self.session = self._server.session
        self.session.encoding = encoding
        self.session.options = options or Options(debounce_ms=0, speculate=False)
        self.session.flights.rhythm = Rhythm(itertools.count().__next__)  # every key a second later
        self.session.documents.open(DocumentSnapshot(URI, 0, language_id, self.text))
        self._version = itertools.count(1)

    async def press(self, key: str) -> list[str]:
        """One key; the suggestions that are shown then, as what they put left and right of the cursor."""
        if key.startswith("="):
            return await self.look(selected=key[1:])
        if key in _MOVES:
            self.cursor = min(max(0, self.cursor + _MOVES[key]), len(self.text))
        elif key in ("↓", "↑"):
            line, character = LineIndex(self.text).position(self.cursor, Encoding.UTF32)
            self.cursor = LineIndex(self.text).offset(line + (1 if key == "↓" else -1), character, Encoding.UTF32)
        elif key == "⌫":
            self._change(self.cursor - 1, self.cursor, "")
        elif key.startswith("⇥"):
            self._accept(key[1:])
        elif place := re.match(r"@(-?\d+):", key):
            at = int(place[1]) % (len(self.text) + 1)
            self._change(at, at, key[place.end() :], moves=False)
        elif key not in ("", "?"):
            behind = key.partition(CURSOR)[2]
            self._change(self.cursor, self.cursor, key.replace(CURSOR, ""))
            self.cursor -= len(behind)
        return await self.look(invoked=key == "?")

    async def type(self, text: str) -> list[str]:
        """Type text that may look like a key."""
        self._change(self.cursor, self.cursor, text)
        return await self.look()

    async def look(self, *, invoked: bool = False, selected: str | None = None) -> list[str]:
        kind = types.InlineCompletionTriggerKind(1 if invoked else 2)
        info = None
        if selected is not None:
            word = re.search(r"\w*\Z", self.text[: self.cursor])
            assert word
            info = types.SelectedCompletionInfo(self._range(word.start(), self.cursor), selected)
        params = types.InlineCompletionParams(
            types.InlineCompletionContext(kind, info),
            types.TextDocumentIdentifier(URI),
            self._position(self.cursor),
        )
        self.items = await self._handler(types.TEXT_DOCUMENT_INLINE_COMPLETION)(params)
        return [self._shown(item) for item in self.items]

    async def popup(self) -> types.CompletionList | None:
        params = types.CompletionParams(types.TextDocumentIdentifier(URI), self._position(self.cursor))
        found: types.CompletionList | None = await self._handler(types.TEXT_DOCUMENT_COMPLETION)(params)
        return found

    @property
    def asked(self) -> int:
        return len(self.client.requests)

    def applied(self, item: types.InlineCompletionItem) -> str:
        """The whole text after taking an item."""
        start, end = self._span(item)
        assert isinstance(item.insert_text, str)
        return self.text[:start] + item.insert_text + self.text[end:]

    def _shown(self, item: types.InlineCompletionItem) -> str:
        start, end = self._span(item)
        assert start <= self.cursor <= end
        covered = self.text[self.cursor : end]
        return f"{item.insert_text}" + (f" over {covered}" if covered else "")

    def _accept(self, part: str) -> None:
        item = self.items[0]
        start, end = self._span(item)
        text = str(item.insert_text)
        if part == "word":
            text, end = str(re.match(r"\s*(?:\w+|\W)", text)[0]), start  # type: ignore[index]
        elif part == "line":
            text, end = text[: (text.find("\n", 1) + len(text)) % len(text) + (text.find("\n", 1) < 0)], start
        self._change(start, end, text)

    def _change(self, start: int, end: int, text: str, *, moves: bool = True) -> None:
        change = types.TextDocumentContentChangePartial(range=self._range(start, end), text=text)
        self.text = self.text[:start] + text + self.text[end:]
        if moves:
            self.cursor = start + len(text)
        elif start <= self.cursor:
            self.cursor += len(text)
        identifier = types.VersionedTextDocumentIdentifier(uri=URI, version=next(self._version))
        params = types.DidChangeTextDocumentParams(identifier, [change])
        self._server.protocol.lsp_text_document__did_change(params)
        snapshot = self.session.documents.get(URI)
        assert snapshot
        assert snapshot.text == self.text

    def _position(self, offset: int) -> types.Position:
        return types.Position(*LineIndex(self.text).position(offset, self._encoding))

    def _range(self, start: int, end: int) -> types.Range:
        return types.Range(self._position(start), self._position(end))

    def _span(self, item: types.InlineCompletionItem) -> tuple[int, int]:
        assert item.range
        lines = LineIndex(self.text)
        assert item.range.start.line == item.range.end.line
        start, end = (lines.offset(at.line, at.character, self._encoding) for at in (item.range.start, item.range.end))
        return start, end

    def _handler(self, method: str) -> Any:
        return self._server.protocol.fm.features[method]
