"""What may take a selection's place, and what may not."""

import pytest

from lsp_server.rewriting.rewriting import checked, selection
from lsp_server.snapshot import DocumentSnapshot

METHOD = "class A:\n    def f(self):\n        x = 1\n        return x\n\n\ny = A()\n"


def check(text: str, selected: str, answer: str, language_id: str = "python") -> tuple[str, str]:
    snapshot = DocumentSnapshot("file:///a", 1, language_id, text)
    start = text.index(selected)
    return checked(answer, snapshot, start, start + len(selected))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("x = 2\n        return x", "x = 2\n        return x"),
        ("        x = 2\n        return x\n", "x = 2\n        return x"),
        ("x = 2\nreturn x", "x = 2\n        return x"),
        ("    x = 2\n    if x:\n        return x", "x = 2\n        if x:\n            return x"),
        ("```python\nx = 2\nreturn x\n```", "x = 2\n        return x"),
        ("x = 2  \n\n        return x\n\n\n", "x = 2  \n\n        return x"),
        ("x = 2\r\n        return x", "x = 2\n        return x"),
    ],
)
def test_the_selection_s_indentation_is_kept(answer: str, expected: str) -> None:
    assert check(METHOD, "x = 1\n        return x", answer) == (expected, "")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("x = 1\n        return x", "leaves it as it is"),
        ("  x = 1\n  return x\n", "leaves it as it is"),
        ("", "leaves nothing"),
        (" \n\n", "leaves nothing"),
        ("x = (1\n        return x", "breaks the syntax"),
        ("x = 'a\x00b'", "noise"),
        ("x = '\ufffd'", "noise"),
    ],
)
def test_what_is_refused(answer: str, reason: str) -> None:
    text, why = check(METHOD, "x = 1\n        return x", answer)
    assert text == ""
    assert reason in why


def test_what_was_broken_may_stay_broken_but_not_become_worse() -> None:
    broken = "def f(:\n    pass\n\n\ndef g():\n    return 2\n"
    assert check(broken, "return 2", "return 3") == ("return 3", "")
    assert check(broken, "return 2", "return (3")[0] == ""


def test_the_document_s_line_ends_are_kept() -> None:
    text = METHOD.replace("\n", "\r\n")
    assert check(text, "x = 1\r\n        return x", "x = 2\n        return x")[0] == "x = 2\r\n        return x"


def test_a_piece_of_a_line_is_left_where_it_is() -> None:
    assert check("x = f(a, b)\n", "f(a, b)", "  g(a)\n") == ("g(a)", "")
    assert check("    x = f(a,\n          b)\n", "f(a,\n          b)", "g(a,\n          c)")[0] == "g(a,\n          c)"


@pytest.mark.parametrize(
    ("selected", "meant"),
    [((0, 14), "def f():\n  x"), ((3, 3), "def f():"), ((8, 11), ""), ((9, 13), "x"), ((14, 14), "")],
)
def test_what_a_selection_means(selected: tuple[int, int], meant: str) -> None:
    text = "def f():\n  x\n \n"
    start, end = selection(DocumentSnapshot("file:///a", 1, "python", text), *selected)
    assert text[start:end] == meant
