"""Marked texts: ⟦old→new⟧ are the edits in their order, ⟪⟫ every place where the same change is then offered.

⟪old→text⟫ is a place where the offer is another text than the one inserted.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsp_server.history import RecentEdit
from lsp_server.next_edit.change import Change, Rename, change_of, rename_of
from lsp_server.next_edit.propose import LAST_S, NextEdit, next_edit
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.trees import SyntaxTrees

CASES = Path(__file__).parents[2] / "data/next_edit/cases.txt"
EDIT = re.compile("⟦([^→⟧]*)→([^⟧]*)⟧")
PLACE = re.compile("⟪([^⟫→]*)(?:→([^⟫]*))?⟫")


def cases() -> Iterator[object]:
    for part in CASES.read_text(encoding="utf-8").split("=== ")[1:]:
        title, text = part.split("\n", 1)
        name, language = re.fullmatch(r"(.*) \((\w+)\)", title).groups()  # type: ignore[union-attr]
        yield pytest.param(language, text.rstrip("\n") + "\n", id=f"{language}: {name}")


def edits_of(marked: str) -> list[RecentEdit]:
    """The edits, newest first."""
    marked, edits = PLACE.sub(r"\1", marked), []
    for number, mark in enumerate(EDIT.finditer(marked)):
        head = EDIT.sub(r"\2", marked[: mark.start()])
        tail = EDIT.sub(r"\1", marked[mark.end() :])
        before, after = (head + text + tail for text in mark.groups())
        line = head.count("\n")
        lines = before.split("\n")[line], after.split("\n")[line]
        edits.append(RecentEdit("file:///a", line, *lines, len(head), mark[1], mark[2], float(number)))
    return edits[::-1]


@pytest.mark.parametrize(("language", "marked"), [*cases()])
def test_the_same_change_is_offered_where_it_plainly_applies(language: str, marked: str) -> None:
    edits = edits_of(marked)
    with_places = EDIT.sub(r"\2", marked)
    text, wanted = PLACE.sub(r"\1", with_places), PLACE.sub(lambda mark: mark[2] or edits[0].inserted, with_places)
    offset = edits[0].start + len(edits[0].inserted)
    while offer := offered(language, text, edits, offset):
        line = text.count("\n", 0, offer.start)
        removed, before = text[offer.start : offer.end], text.split("\n")[line]
        text = text[: offer.start] + offer.text + text[offer.end :]  # as if accepted: the next one comes
        after = text.split("\n")[line]
        edits.insert(0, RecentEdit("file:///a", line, before, after, offer.start, removed, offer.text, edits[0].at))
        offset = offer.start + len(offer.text)
        assert len(edits) < 20
    assert text == wanted


def offered(language: str, text: str, edits: list[RecentEdit], offset: int) -> NextEdit | None:
    snapshot = DocumentSnapshot("file:///a", 1, language, text)
    return next_edit(snapshot, SyntaxTrees().whole(snapshot), edits, offset, now=edits[0].at)


def edit(before: str, after: str, at: float = 0.0) -> RecentEdit:
    return RecentEdit("file:///a", 0, before, after, 0, before, after, at)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("x = count", "x = total", Rename("count", "total")),
        ("f(a, a)", "f(b, b)", Rename("a", "b")),
        ("f(a, c)", "f(b, d)", None),
        ("f(a)", "f(1)", None),
        ("f(a)", "f(a, b)", None),
        ("a", "a", None),
    ],
)
def test_a_renaming_is_one_name_for_another_everywhere(before: str, after: str, expected: Rename | None) -> None:
    assert rename_of(edit(before, after)) == expected


def test_a_change_has_its_surroundings() -> None:
    assert change_of(edit("  f(a)", "  f(a, b)")) == Change("f(a", "", ", b", ")")
    assert change_of(edit("a\nb", "a\nc")) is None
    assert change_of(edit("a", "b")) is None


def test_what_was_edited_long_ago_is_over() -> None:
    text = "def f(width):\n    return w\n"
    snapshot = DocumentSnapshot("file:///a", 1, "python", text)
    edits = [RecentEdit("file:///a", 0, "def f(w):", "def f(width):", 6, "w", "width", 0.0)]
    tree = SyntaxTrees().whole(snapshot)
    assert next_edit(snapshot, tree, edits, 0, now=LAST_S) == NextEdit(25, 26, "width", 0)
    assert next_edit(snapshot, tree, edits, 0, now=LAST_S + 1) is None
    assert next_edit(snapshot, None, edits, 0, now=0) is None


def test_from_the_cursor_on_and_then_from_the_top() -> None:
    text = "sum(a)\nsum(b)\ndef total(x): pass\n"
    edits = [RecentEdit("file:///a", 2, "def sum(x): pass", "def total(x): pass", 18, "sum", "total", 0.0)]
    assert offered("python", text, edits, 0) == NextEdit(0, 3, "total", 1)
    assert offered("python", text, edits, 3) == NextEdit(7, 10, "total", 1)
    assert offered("python", text, edits, 20) == NextEdit(0, 3, "total", 1)
