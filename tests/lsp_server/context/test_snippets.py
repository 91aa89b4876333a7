import pytest

from lsp_server.context.snippets import choose, render
from lsp_server.snapshot import DocumentSnapshot


def document(name: str, text: str, language_id: str = "python") -> DocumentSnapshot:
    return DocumentSnapshot(f"file:///project/{name}", 1, language_id, text)


HERE = document("here.py", "def area_of(width, height):\n    return ")
LIKE = document("like.py", "def volume_of(width, height, depth):\n    return width * height * depth\n")
UNLIKE = document("unlike.py", "import socket\nsocket.create_connection(address)\n")


def test_what_is_like_the_lines_before_the_cursor_is_chosen() -> None:
    found = choose(HERE, len(HERE.text), [UNLIKE, LIKE])
    assert [one.name for one in found] == ["like.py"]
    assert 0 < found[0].likeness <= 1


def test_nothing_is_chosen_twice_nor_from_the_document_itself() -> None:
    assert len(choose(HERE, len(HERE.text), [LIKE, document("copy.py", LIKE.text), HERE])) == 1
    both = document("here.py", LIKE.text + HERE.text)
    assert choose(both, len(both.text), [LIKE]) == []


def test_the_best_stands_last_next_to_the_prefix() -> None:
    other = document("other.py", "def width_of(anything):\n    return anything.width\n")
    found = choose(HERE, len(HERE.text), [other, LIKE])
    text = render(found, "python", 1000)
    assert text.index("other.py") < text.index("like.py")


def test_snippets_are_comments_of_the_language_within_the_budget() -> None:
    found = choose(HERE, len(HERE.text), [LIKE])
    text = render(found, "python", 1000)
    assert text.startswith("# From like.py:\n# def volume_of(")
    assert all(line.startswith("#") for line in text.splitlines())
    assert render(found, "typescript", 1000).startswith("// From like.py:\n// def")
    assert len(text) == len(render(found, "python", len(text)))
    assert render(found, "python", len(text) - 1) == ""
    assert render(found, "markdown", 1000) == ""


@pytest.mark.parametrize("text", ["", "\n\n", "\r\n", "\ud800", "x" * 100_000])
def test_any_text_may_be_open(text: str) -> None:
    choose(document("here.py", text), len(text), [document("a.py", text), LIKE])


def test_large_files_cost_no_more_than_their_beginning() -> None:
    far = document("far.py", "#\n" * 50_000 + LIKE.text)
    assert choose(HERE, len(HERE.text), [far]) == []
