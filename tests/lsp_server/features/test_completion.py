"""The completion popup, for editors without ghost text."""

import json

import pytest
from lsprotocol import types

from lsp_server.options import Options
from lsp_server.positions import Encoding
from tests.support.editor import URI, editor
from tests.support.typist import KnowingClient, Typist

POPUP = Options(debounce_ms=0, speculate=False, completion_items="on", candidates=3)


def popup(text: str, *fills: str, encoding: Encoding = Encoding.UTF16) -> Typist:
    return Typist(text, KnowingClient(lambda prefix: fills), encoding=encoding, options=POPUP)


async def items(user: Typist) -> list[types.CompletionItem]:
    found = await user.popup()
    assert found
    assert found.is_incomplete
    return list(found.items)


async def test_an_item_is_one_edit_of_the_word_left_of_the_cursor() -> None:
    user = popup("total = pri‸\n", "ce * count")
    (item,) = await items(user)
    assert (item.label, item.detail, item.filter_text) == ("price * count", "Lacuna", "price * count")
    assert (item.preselect, item.kind) == (False, types.CompletionItemKind.Text)
    assert item.insert_text_format is types.InsertTextFormat.PlainText
    assert isinstance(item.text_edit, types.TextEdit)
    assert item.text_edit.new_text == "price * count"
    assert item.text_edit.range == types.Range(types.Position(0, 8), types.Position(0, 11))


@pytest.mark.parametrize(("encoding", "character"), [("utf-8", 16), ("utf-16", 13), ("utf-32", 12)])
async def test_in_the_editor_s_units(encoding: str, character: int) -> None:
    user = popup("é = ['🎉', ab‸]\n", "cd", encoding=Encoding(encoding))
    (item,) = await items(user)
    assert isinstance(item.text_edit, types.TextEdit)
    start, end = item.text_edit.range.start.character, item.text_edit.range.end.character
    assert end - start == 2
    assert end == character


async def test_several_lines_have_a_short_label_and_come_whole() -> None:
    user = popup(
        "def f():\n    ‸\n", "first = " + " + ".join(map(str, range(40))) + "\n    return first", "a = 1\n    b = 2"
    )
    long, short = await items(user)
    assert len(long.label) == 60
    assert long.label.endswith("…")
    assert short.label == "a = 1 …"
    assert short.documentation == "a = 1\n    b = 2"
    assert (long.sort_text, short.sort_text) == ("00", "01")


async def test_the_filter_text_begins_with_what_the_editor_filters_by() -> None:
    for text, fill in (("x = ‸\n", "value"), ("x = va‸\n", "lue(1)"), ("x = f(‸)\n", "a, b")):
        user = popup(text, fill)
        (item,) = await items(user)
        assert isinstance(item.text_edit, types.TextEdit)
        left = user.text[item.text_edit.range.start.character : user.cursor]
        assert str(item.filter_text).startswith(left)


async def test_nothing_to_suggest_is_an_empty_list() -> None:
    assert await items(popup("x = ‸\n", "")) == []


async def test_typing_on_filters_without_the_model() -> None:
    user = popup("x = ‸\n", "value", "other")
    assert len(await items(user)) == 2
    user._change(user.cursor, user.cursor, "va")
    (item,) = await items(user)
    assert item.label == "value"
    assert user.asked == 1


def options(**values: object) -> dict[str, object]:
    return {"debounceMs": 0, "speculate": False} | values


@pytest.mark.parametrize(
    ("given", "name", "inline_first", "offered"),
    [
        (options(), "helix", False, True),
        (options(), "Eglot", False, True),
        (options(), "emacs", False, False),
        (options(), "helix", True, False),
        (options(completionItems="off"), "helix", False, False),
        (options(completionItems="on"), "emacs", False, True),
    ],
    ids=json.dumps,
)
async def test_it_is_offered_where_there_is_no_ghost_text(
    given: dict[str, object], name: str, inline_first: bool, offered: bool
) -> None:
    async with editor(options=given, name=name, fills=["value"]) as one:
        assert one.initialized.capabilities.completion_provider
        one.open("x = \n")
        if inline_first:
            await one.complete(0, 4)
        params = types.CompletionParams(types.TextDocumentIdentifier(URI), types.Position(0, 4))
        found = await one.client.text_document_completion_async(params)
        assert bool(found and isinstance(found, types.CompletionList) and found.items) is offered
