from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.documents import Documents
from lsp_server.history import History, RecentEdit, _common_prefix, _common_suffix
from lsp_server.positions import Encoding
from lsp_server.snapshot import Change, DocumentSnapshot

LINES = "".join(f"line {number}\n" for number in range(60))


@dataclass
class Desk:
    """One document, somebody who edits it, and a clock."""

    text: str = LINES
    uri: str = "file:///a.py"
    now: float = 0.0
    history: History = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(lambda: self.now)
        self.snapshot = DocumentSnapshot(self.uri, 1, "python", self.text)

    def replace(self, start: int, end: int, new: str, pause: float = 0.1) -> None:
        self.now += pause
        text = self.snapshot.text
        after = replace(self.snapshot, text=text[:start] + new + text[end:], version=self.snapshot.version + 1)
        self.history.note(self.snapshot, after)
        self.snapshot = after

    def type(self, at: int, new: str, pause: float = 0.1) -> None:
        for character in new:
            self.replace(at, at, character, pause)
            at += 1
            pause = 0.1

    def at(self, line: int) -> int:
        return self.snapshot.lines.start(line)


def test_keys_close_together_are_one_edit_of_whole_lines() -> None:
    desk = Desk()
    desk.type(desk.at(3) + 5, "x = 1\n")
    (edit,) = desk.history.recent()
    assert edit == RecentEdit(
        uri=desk.uri,
        line=3,
        before="line 3",
        after="line x = 1\n3",
        start=desk.at(3) + 5,
        removed="",
        inserted="x = 1\n",
        at=desk.now,
    )


@pytest.mark.parametrize(
    ("pause", "lines", "edits"), [(0.9, 8, 1), (1.1, 0, 2), (0.1, 9, 2), (0.1, -8, 1), (0.1, -9, 2)]
)
def test_far_in_time_or_place_is_another_edit(pause: float, lines: int, edits: int) -> None:
    desk = Desk()
    desk.type(desk.at(20), "first")
    desk.type(desk.at(20 + lines) + (5 if lines == 0 else 0), "second", pause)
    found = desk.history.recent()
    assert len(found) == edits
    assert "second" in found[0].inserted
    assert "first" in found[-1].inserted


def test_what_was_typed_and_deleted_is_no_edit() -> None:
    for pause in (0.1, 5.0):  # at once, and after some thought
        desk = Desk()
        desk.type(desk.at(5), "oops")
        desk.replace(desk.at(5), desk.at(5) + 4, "", pause)
        assert desk.history.recent() == ()
        desk.type(0, "more", 5.0)
        assert [edit.inserted for edit in desk.history.recent()] == ["more"]


def test_several_cursors_are_several_edits_however_long_one_types() -> None:
    desk = Desk()
    for count, character in enumerate("total"):
        for line in (50, 30, 10):
            desk.replace(desk.at(line) + count, desk.at(line) + count, character, 0.01)
    assert [(edit.line, edit.inserted) for edit in desk.history.recent()] == [
        (10, "total"),
        (30, "total"),
        (50, "total"),
    ]


def test_the_documents_note_each_change_of_a_message() -> None:
    documents = Documents()
    documents.open(DocumentSnapshot("file:///a.py", 1, "python", LINES))
    changes = [Change("new ", ((line, 0), (line, 0))) for line in (40, 5)]
    documents.change("file:///a.py", changes, 2, Encoding.UTF16)
    assert [(edit.line, edit.before, edit.after) for edit in documents.history.recent()] == [
        (5, "line 5", "new line 5"),
        (40, "line 40", "new line 40"),
    ]
    latest = documents.get("file:///a.py")
    assert latest
    assert latest.version == 2
    documents.change("file:///a.py", [], 3, Encoding.UTF16)
    assert documents.get("file:///a.py") == replace(latest, version=3)


def test_each_document_has_its_edits_newest_first() -> None:
    desk = Desk()
    other = DocumentSnapshot("file:///b.py", 1, "python", "a\n")
    desk.type(0, "one")
    desk.history.note(other, replace(other, text="a\nb\n"))
    desk.type(desk.at(3), "two")
    assert [edit.uri[-4:] for edit in desk.history.recent()] == ["a.py", "b.py"]
    assert [edit.inserted for edit in desk.history.recent("file:///b.py")] == ["b\n"]


def test_it_keeps_a_bounded_number_of_bounded_edits() -> None:
    desk = Desk()
    for number in range(200):
        desk.type(desk.at(number % 60), chr(0x4E00 + number), 3.0)
    found = desk.history.recent()
    assert 10 < len(found) <= 30
    assert found[0].inserted == chr(0x4E00 + 199)
    desk.replace(0, len(desk.snapshot.text), "x" * 1_000_000, 3.0)
    assert desk.history.recent()[0].inserted == chr(0x4E00 + 199), "a file that was pasted is no edit"
    for line in range(40):
        desk.replace(desk.at(line), desk.at(line), "y" * 999 + "\n")
    assert max(len(edit.after) for edit in desk.history.recent()) < 20_000
    assert len(desk.history.recent()) <= 24


EDITS = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.integers(0, 12),
        st.text("ab\n\r\U0001f600", max_size=6),
        st.sampled_from([0.1, 0.5, 3.0]),
    ),
    max_size=12,
)


@given(text=st.text("ab \n\r", max_size=120), edits=EDITS)
def test_taking_back_every_edit_gives_the_first_text(text: str, edits: list[tuple[int, int, str, float]]) -> None:
    desk = Desk(text.replace("\n", "\n" * 3))
    first = desk.snapshot.text
    spans: list[int] = []
    for at, length, new, pause in edits:
        start = min(at, len(desk.snapshot.text))
        line = desk.snapshot.lines.line_of(start)
        far = any(abs(line - other) > 6 for other in spans)
        spans = [line] if far else [*spans, line]
        desk.replace(start, min(start + length, len(desk.snapshot.text)), new, 3.0 if far else pause)
    undone = desk.snapshot.text
    for edit in desk.history.recent():
        lines = replace(desk.snapshot, text=undone).lines
        assert undone.startswith(edit.inserted, edit.start)
        assert edit.removed != edit.inserted
        assert edit.removed[:1] != edit.inserted[:1] or not edit.removed
        assert lines.line_of(edit.start) == edit.line
        assert undone.startswith(edit.after, lines.start(edit.line))
        undone = undone[: edit.start] + edit.removed + undone[edit.start + len(edit.inserted) :]
        assert undone.startswith(edit.before, lines.start(edit.line))
    assert undone == first


TEXTS = st.text("ab", max_size=20).map(lambda text: text * 900)


@given(start=TEXTS, one=st.text("ab", max_size=5), other=st.text("ab", max_size=5), end=TEXTS)
def test_what_is_common_is_found_whatever_the_length(start: str, one: str, other: str, end: str) -> None:
    left, right = start + one + end, start + other + end
    head = _common_prefix(left, right)
    tail = _common_suffix(left, right, head)
    assert left[:head] == right[:head]
    assert head == min(len(left), len(right)) or left[head] != right[head]
    assert left[len(left) - tail :] == right[len(right) - tail :]
    assert head + tail <= min(len(left), len(right))
    most = min(len(left), len(right)) - head
    assert tail == most or left[len(left) - tail - 1] != right[len(right) - tail - 1]
