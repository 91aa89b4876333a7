import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.documents import Documents
from lsp_server.positions import Encoding, LineIndex
from lsp_server.snapshot import Change, DocumentSnapshot

TEXTS = st.text(st.sampled_from("aé🎉\n\r\t\x0c\u2028"), max_size=30)


def document(text: str, language_id: str = "python") -> DocumentSnapshot:
    return DocumentSnapshot("file:///a.py", 1, language_id, text)


@given(TEXTS, TEXTS, st.data(), st.sampled_from(Encoding))
@settings(deadline=None)
def test_a_change_replaces_exactly_its_span(text: str, new: str, data: st.DataObject, encoding: Encoding) -> None:
    before = document(text)
    ends = [o for o in range(len(text) + 1) if text[o - 1 : o + 1] != "\r\n"]
    start, end = sorted(data.draw(st.lists(st.sampled_from(ends), min_size=2, max_size=2)))
    span = (before.lines.position(start, encoding), before.lines.position(end, encoding))
    after = before.edited([Change(new, span)], 2, encoding)
    assert after.text == text[:start] + new + text[end:]
    assert after.version == 2
    assert before.text == text
    fresh = LineIndex(after.text)
    assert [after.lines.start(n) for n in range(len(after.lines))] == [fresh.start(n) for n in range(len(fresh))]


def test_changes_build_on_one_another() -> None:
    changes = [Change("b\n", ((0, 1), (0, 1))), Change("c", ((1, 0), (1, 0))), Change("!", ((9, 9), (9, 9)))]
    assert document("a").edited(changes, 2, Encoding.UTF16).text == "ab\nc!"


def test_a_change_without_span_is_the_whole_text() -> None:
    assert document("a").edited([Change("new")], 2, Encoding.UTF16).text == "new"


@pytest.mark.parametrize(
    ("text", "ending"), [("a\nb\r\n", "\n"), ("a\r\nb\n", "\r\n"), ("a\rb", "\r"), ("a", "\n"), ("a\x0cb", "\n")]
)
def test_line_ending(text: str, ending: str) -> None:
    assert document(text).line_ending == ending


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("if a:\n    b\n    if c:\n        d\n", "    "),
        ("if a:\n  b\n  if c:\n    d\n", "  "),
        ("if a:\n\tb\n", "\t"),
        ("if a:\n\tb\n\tc\n  d\n", "\t"),
        ("a\n", "    "),
    ],
)
def test_indentation_unit(text: str, unit: str) -> None:
    assert document(text).indent_unit == unit


def test_javascript_is_mostly_indented_by_two() -> None:
    assert document("f();\n", "javascript").indent_unit == "  "


def test_documents_know_what_is_latest() -> None:
    documents = Documents()
    first = document("a")
    documents.open(first)
    assert documents.is_latest(first)
    documents.change(first.uri, [Change("b", ((0, 1), (0, 1)))], 2, Encoding.UTF16)
    assert not documents.is_latest(first)
    second = documents.get(first.uri)
    assert second
    assert second.text == "ab"
    documents.close(first.uri)
    assert documents.get(first.uri) is None
    assert not documents.is_latest(second)


def test_a_change_to_a_document_that_is_not_open_is_ignored() -> None:
    documents = Documents()
    documents.change("file:///nowhere", [Change("b")], 2, Encoding.UTF16)
    assert documents.get("file:///nowhere") is None


def test_other_documents_come_the_last_edited_first() -> None:
    documents = Documents()
    for name in "abc":
        documents.open(DocumentSnapshot(name, 1, "python", ""))
    documents.change("a", [Change("x")], 2, Encoding.UTF16)
    assert [one.uri for one in documents.others("b")] == ["a", "c"]
