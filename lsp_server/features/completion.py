"""``textDocument/completion``: suggestions in the popup, for editors without inline completion (Helix, eglot)."""

from __future__ import annotations

import re
from dataclasses import replace

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_server.features.suggester import Shown, Suggester
from lsp_server.session import Session
from lsp_server.suggestions.edits import edit_of
from lsp_server.suggestions.suggest import Suggestion

TRIGGERS = (".", "(", "[", "{", ",", "=", ":", " ")
"""Where these editors ask besides at letters."""

DETAIL = "Lacuna"
LABEL = 60
_WORD_LEFT = re.compile(r"\w*\Z")
_MAX_WORD = 100
_LSP_MODE = "emacs"
"""lsp-mode's name for itself; it knows inline completion but does not say so. eglot calls itself Eglot."""


def register(server: LanguageServer, session: Session, suggester: Suggester) -> None:
    """Answer completion requests, with nothing where ghost text is shown anyhow."""

    @server.feature(
        types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS, resolve_provider=False)
    )
    async def completion(params: types.CompletionParams) -> types.CompletionList | None:
        if not _is_wanted(server, session, suggester):
            return None
        shown = await suggester.answer(params.text_document.uri, params.position, popup=True)
        items = _items(shown, session) if shown else []
        return types.CompletionList(is_incomplete=True, items=items)


def _is_wanted(server: LanguageServer, session: Session, suggester: Suggester) -> bool:
    if session.options.completion_items != "auto":
        return session.options.completion_items == "on"
    document = server.client_capabilities.text_document
    announced = document is not None and document.inline_completion is not None
    return not (announced or suggester.asked_inline or session.editor == _LSP_MODE)


def _items(shown: Shown, session: Session) -> list[types.CompletionItem]:
    return [item for number, one in enumerate(shown.items) if (item := _item(shown, one, number, session))]


def _item(shown: Shown, suggestion: Suggestion, number: int, session: Session) -> types.CompletionItem | None:
    """The suggestion together with the word left of it: editors drop items that do not begin with that word."""
    text = shown.snapshot.text
    word = _WORD_LEFT.search(text, max(0, suggestion.start_offset - _MAX_WORD), suggestion.start_offset)
    left = word[0] if word else ""
    whole = replace(suggestion, text=left + suggestion.text, start_offset=suggestion.start_offset - len(left))
    edit = edit_of(shown.snapshot, whole, session.encoding, with_lf=session.wants_lf)
    if edit is None:
        return None
    first, *more = whole.text.strip().splitlines()
    label = first if len(first) <= LABEL else first[: LABEL - 1] + "…"
    return types.CompletionItem(
        label=f"{label} …" if more and len(first) <= LABEL else label,
        kind=types.CompletionItemKind.Text,
        detail=DETAIL,
        documentation=edit.text if more else None,
        preselect=False,
        sort_text=f"{number:02}",
        filter_text=left + first[len(left) :] if left else first,
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(
            range=types.Range(start=types.Position(*edit.start), end=types.Position(*edit.end)), new_text=edit.text
        ),
    )
