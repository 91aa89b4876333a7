import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.typing.remainder import Remainder, remainder

BODY = "total = 0\n    for item in items:\n        total += item\n\n    return total"


@pytest.mark.parametrize(
    ("text", "typed", "inserted", "left"),
    [
        ("foo(a, b)", "", "", Remainder("foo(a, b)")),
        ("foo(a, b)", "fo", "", Remainder("o(a, b)")),
        ("foo(a, b)", "fu", "", None),
        ("foo(a, b)", "foo(a, b)", "", None),
        ("foo(a, b)", "foo(a, b)x", "", None),
        ("x = 1  ", "x = 1", "", None),
        ("foo(a, b)", "foo(", ")", Remainder("a, b")),
        ("print('hi')", "print('", "')", Remainder("hi")),
        ("print('hi')", "print(", ")", Remainder("'hi'")),
        ("foo(a).bar", "foo(", ")", Remainder("a).bar", 1)),
        ("foo(a[0]).bar", "foo(a[", "])", Remainder("0]).bar", 2)),
        ("foo(a)", "foo(", "]", None),
        ("f(x)", "f(", "x)", None),
        ("a\n)", "a", "\n", None),
        ("{\n  a: 1,\n}", "{\n  ", "\n}", Remainder("a: 1,")),
        ("{\n  a: 1,\n};", "{\n  ", "\n}", None),
        ("foo(", "foo(", ")", None),
        ("f()", "f(", ")", None),
        (BODY, "total = 0", "", Remainder(BODY[9:])),
        (BODY, "total = 0\n", "", Remainder(BODY[10:])),
        (BODY, "total = 0\n    ", "", Remainder(BODY[14:])),
        (BODY, "total = 0\n        ", "", None),
        (BODY, BODY[: BODY.index("\n\n")] + "\n", "", Remainder("\n    return total")),
        (BODY, BODY[: BODY.index("\n\n")] + "\n    ", "", Remainder("return total")),
        (BODY, BODY[: BODY.index("\n\n")] + "\n        ", "", None),
        ("a\r\n\r\n\tb", "a\r\n\t", "", Remainder("b")),
        ("a\n\n", "a\n    ", "", None),
    ],
)
def test_what_is_left(text: str, typed: str, inserted: str, left: Remainder | None) -> None:
    assert remainder(text, typed, inserted) == left


@given(st.text("ab( )\n\t'", max_size=30), st.text("ab( )\n\t'", max_size=30), st.text(")]'\n ", max_size=4))
def test_it_never_is_blank_and_never_closes_twice(text: str, typed: str, inserted: str) -> None:
    left = remainder(text, typed, inserted)
    if left is None:
        return
    assert left.text.strip()
    assert 0 <= left.covered <= len(inserted)
    if text.startswith(typed):
        whole = typed + left.text + inserted[left.covered :]
        assert whole == text


@given(st.text(max_size=30), st.data())
def test_typing_along_comes_out_where_accepting_does(text: str, data: st.DataObject) -> None:
    typed = text[: data.draw(st.integers(0, len(text)))]
    left = remainder(text, typed)
    assert (left is None) == (not text[len(typed) :].strip())
    assert left is None or typed + left.text == text
