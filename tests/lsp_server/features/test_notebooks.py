"""Cells of a notebook: documents of their own, read together with those above them."""

from typing import Any

from lsp_server.notebooks import text_of
from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot
from tests.support.wire import Wire

BOOK = "file:///project/n.ipynb"
NOTEBOOKS = {"notebookDocument": {"synchronization": {"dynamicRegistration": False}}}


def cell(number: int) -> str:
    return f"vscode-notebook-cell:/project/n.ipynb#{number}"


def item(number: int, text: str, language: str = "python") -> dict[str, Any]:
    return {"uri": cell(number), "languageId": language, "version": 1, "text": text}


def reference(number: int, kind: int = 2) -> dict[str, Any]:
    return {"kind": kind, "document": cell(number)}


def open_notebook(wire: Wire, *items: dict[str, Any]) -> None:
    cells = [{"kind": 2 if one["languageId"] == "python" else 1, "document": one["uri"]} for one in items]
    book = {"uri": BOOK, "notebookType": "jupyter-notebook", "version": 1, "cells": cells}
    wire.send("notebookDocument/didOpen", {"notebookDocument": book, "cellTextDocuments": list(items)})


def change(wire: Wire, **cells: Any) -> None:
    book = {"uri": BOOK, "version": 2}
    wire.send("notebookDocument/didChange", {"notebookDocument": book, "change": {"cells": cells}})


async def started(**script: Any) -> Wire:
    wire = Wire(**script)
    result = await wire.start(NOTEBOOKS)
    assert result["capabilities"]["notebookDocumentSync"]["notebookSelector"] == [{"notebook": "*"}]
    return wire


async def read(wire: Wire, number: int, line: int, character: int) -> str:
    """The prefix that the model reads at a place in a cell."""
    await wire.complete(line, character, cell(number))
    prefix = wire.client.requests[-1].segments[0]
    return str(getattr(prefix, "text"))  # noqa: B009


async def test_the_cells_above_are_the_text_before() -> None:
    wire = await started(fills=["1"])
    open_notebook(
        wire, item(1, "import os\r\n"), item(2, "# Title", "markdown"), item(3, "y = 2"), item(4, "x = "), item(5, "z")
    )
    (found,) = await wire.complete(0, 4, cell(4))
    assert found["range"] == {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 4}}
    assert await read(wire, 4, 0, 4) == "import os\n\ny = 2\n\nx = "


async def test_what_was_suggested_below_another_cell_is_not_suggested_again() -> None:
    wire = await started(fills=["1"])
    open_notebook(wire, item(1, "a = 1"), item(2, "x = "))
    assert await read(wire, 2, 0, 4) == "a = 1\n\nx = "
    await wire.complete(0, 4, cell(2))
    assert len(wire.client.requests) == 1, "nothing has changed: the answer is known"
    change(wire, textContent=[{"document": {"uri": cell(1), "version": 2}, "changes": [{"text": "b = 2"}]}])
    assert await read(wire, 2, 0, 4) == "b = 2\n\nx = "
    assert len(wire.client.requests) == 2


async def test_cells_are_typed_in_added_moved_and_deleted() -> None:
    wire = await started(fills=["1"])
    open_notebook(wire, item(1, "a = 1"), item(2, "x = "))
    at = {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 5}}
    content = {"document": {"uri": cell(1), "version": 2}, "changes": [{"range": at, "text": "'🎉\u2028'"}]}
    change(wire, textContent=[content])
    assert wire.session.surroundings(cell(2)).before == "a = '🎉\u2028'\n\n"
    array = {"start": 1, "deleteCount": 0, "cells": [reference(3)]}
    change(wire, structure={"array": array, "didOpen": [item(3, "b = 2")]})
    assert wire.session.surroundings(cell(2)).before == "a = '🎉\u2028'\n\nb = 2\n\n"
    change(wire, structure={"array": {"start": 1, "deleteCount": 2, "cells": [reference(2), reference(3)]}})
    assert wire.session.surroundings(cell(2)).before == "a = '🎉\u2028'\n\n"
    change(wire, structure={"array": {"start": 0, "deleteCount": 1}, "didClose": [{"uri": cell(1)}]})
    assert wire.session.surroundings(cell(2)).before == ""
    assert wire.session.documents.get(cell(1)) is None


async def test_a_closed_notebook_leaves_nothing() -> None:
    wire = await started()
    open_notebook(wire, item(1, "a"), item(2, "b"))
    wire.send("notebookDocument/didSave", {"notebookDocument": {"uri": BOOK}})
    wire.send("notebookDocument/didClose", {"notebookDocument": {"uri": BOOK}, "cellTextDocuments": [{"uri": cell(1)}]})
    assert wire.session.documents.get(cell(1)) is wire.session.documents.get(cell(2)) is None
    assert await wire.complete(0, 1, cell(2)) == []
    change(wire, structure={"array": {"start": 0, "deleteCount": 1}})
    assert wire.session.notebooks.close(BOOK) == []


async def test_a_notebook_that_is_excluded_is_told_until_it_is_closed() -> None:
    wire = await started(fills=["1"])
    wire.session.options = Options(excluded_files=("n.ipynb",))
    open_notebook(wire, item(1, "x = "), item(2, "y = "))
    for close in ("cell", "book"):
        assert await wire.complete(0, 4, cell(2)) == []
        assert wire.named("lacuna/status")[-1]["state"] == "excluded"
        if close == "cell":
            gone = {"array": {"start": 1, "deleteCount": 1}, "didClose": [{"uri": cell(2)}]}
            change(wire, structure=gone)
            assert wire.named("lacuna/status")[-1]["state"] == "ready"
            change(wire, structure={"array": {"start": 1, "deleteCount": 0}, "didOpen": [item(2, "y = ")]})
    wire.send("notebookDocument/didClose", {"notebookDocument": {"uri": BOOK}, "cellTextDocuments": [{"uri": cell(2)}]})
    assert wire.named("lacuna/status")[-1]["state"] == "ready"


async def test_a_change_that_cannot_be_read_forgets_the_notebook() -> None:
    wire = await started()
    open_notebook(wire, item(1, "a"))
    change(wire, textContent=[{"document": {"uri": cell(1), "version": 2}, "changes": [{"range": "here"}]}])
    assert wire.session.documents.get(cell(1)) is None


def test_whole_cells_as_far_as_there_is_room() -> None:
    cells = [
        DocumentSnapshot(cell(number), 1, "python", text) for number, text in enumerate(["aaaa", "", "bb\n", "cc"])
    ]
    assert text_of(cells, 100) == "aaaa\n\nbb\n\ncc\n\n"
    assert text_of(cells, 8) == "bb\n\ncc\n\n"
    assert text_of(cells, 3) == ""
