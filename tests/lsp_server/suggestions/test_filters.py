"""Each filter by what it changes and by what it must leave alone; then all of them together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.protocol import FinishReason
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions import filters
from lsp_server.suggestions.filters import Filter, check
from lsp_server.suggestions.site import Site
from lsp_server.syntax.gaps import find_gap
from lsp_server.syntax.trees import SyntaxTrees

CURSOR = "‸"


def site(text: str, language_id: str = "python", invoked: bool = True) -> Site:
    snapshot = DocumentSnapshot("file:///a", 1, language_id, text.replace(CURSOR, ""))
    tree = SyntaxTrees().around(snapshot, text.index(CURSOR))
    gap = find_gap(snapshot, text.index(CURSOR), tree, invoked=invoked)
    assert gap
    return Site(snapshot, gap, tree)


BODY = "def f(x):\n    ‸\n\ny = 1\n"
CASES: list[tuple[Filter, str, str, str]] = [
    (filters.drop_control_characters, "x = ‸", "a\0b", ""),
    (filters.drop_control_characters, "x = ‸", "a\ufffd", ""),
    (filters.drop_control_characters, "x = ‸", "a\x1b[0m", ""),
    (filters.drop_control_characters, "x = ‸", "é 🎉\n\tb", "é 🎉\n\tb"),
    # one space, one indentation
    (filters.match_indentation, "x = ‸", " 1", "1"),
    (filters.match_indentation, "x =‸", " 1", " 1"),
    (filters.match_indentation, '"""a ‸"""', " b", "b"),
    (filters.match_indentation, BODY, "    return x", "return x"),
    (filters.match_indentation, BODY, "return x\n    # end", "return x\n    # end"),
    (filters.match_indentation, "def f(x):\n‸\n", "return x", "    return x"),
    (filters.match_indentation, "def f(x):\n‸\n", "\n    return x", "    return x"),
    (filters.match_indentation, "if a:\n\tif b:\n\t\t‸\n", "if c:\n            d()", "if c:\n\t\t\td()"),
    (filters.match_indentation, "if a:\n    if b:\n        ‸\n", "if c:\n\t\t\td()", "if c:\n            d()"),
    (filters.match_indentation, "if a:\n  if b:\n    ‸\n", "if c:\n\t\t\td()", "if c:\n      d()"),
    (filters.match_indentation, "def f(x):‸\n", "\n    return x", "\n    return x"),
    # the gap's end
    (filters.cut_at_gap_end, "x = ‸\ny = 2\n", "1\nz = 3", "1"),
    (filters.cut_at_gap_end, "x = ‸\ny = 2\n", "\nz = 3", ""),
    (filters.cut_at_gap_end, 'x = "a ‸"', 'b" + "c', "b"),
    (filters.cut_at_gap_end, 'x = "a ‸"', 'b \\" c', 'b \\" c'),
    (filters.cut_at_gap_end, 'def f():\n    """A ‸"""\n', 'thing."""\n    return', "thing."),
    (filters.cut_at_gap_end, BODY, "return x\n\ndef g():\n    pass", "return x\n"),
    (filters.cut_at_gap_end, BODY, "a = x\n\n    return a\nz = 1", "a = x\n\n    return a"),
    (filters.cut_at_gap_end, "a = 1\n‸\nb = 2\n", "c = 3\n\nd = 4", "c = 3"),
    (filters.cut_at_gap_end, "def f(x):\n    a()\n    ‸\n    b()\n", "c()\nd()", "c()"),
    # closers
    (filters.cut_unbalanced_closers, "f(‸)", "a)", "a"),
    (filters.cut_unbalanced_closers, "f(‸)", "a, g(b))", "a, g(b)"),
    (filters.cut_unbalanced_closers, "f(‸)", "g(b)", "g(b)"),
    (filters.cut_unbalanced_closers, "f(‸)", '")"', '")"'),
    (filters.cut_unbalanced_closers, "f(‸)", "a # :)", "a # :)"),
    (filters.cut_unbalanced_closers, "f(a, ‸\n", "b)", "b)"),
    (filters.cut_unbalanced_closers, "f(g(a, ‸\n", "b)) + 1)", "b)) + 1"),
    (filters.cut_unbalanced_closers, "x = [‸]", "a)", "a"),
    (filters.cut_unbalanced_closers, 'x = "‸"', ":)", ":)"),
    # what follows
    (filters.trim_suffix_overlap, "f(a ‸, b)", "+ 1, b", "+ 1"),
    (filters.trim_suffix_overlap, "x = a ‸ + total\n", "* 2 + total", "* 2"),
    (filters.trim_suffix_overlap, "x = ‸ + b\n", "a", "a"),
    (filters.trim_suffix_overlap, "x = f(‸)", "bar()", "bar()"),
    (filters.trim_suffix_overlap, "a = 1\n‸\nreturn a\n", "b = 2\nreturn a", "b = 2"),
    (filters.trim_suffix_overlap, "a = 1\n‸\nreturn a\n", "b = 2", "b = 2"),
    (filters.trim_suffix_overlap, "def f(x):\n    ‸\n    return x\n", "return x", ""),
    (filters.trim_suffix_overlap, "if a:\n    ‸\n}\n", "b()\n}", "b()\n}"),
    # loops
    (filters.cut_loops, "x = ‸", "ab ab ab ab ab ab ab", ""),
    (
        filters.cut_loops,
        "x = ‸",
        "a long beginning that is fine, and yet: ab ab ab ab ab ",
        "a long beginning that is fine, and yet: ab",
    ),
    (filters.cut_loops, BODY, "a = x\n    print(a)\n    print(a)\n    print(a)", "a = x\n    print(a)"),
    (filters.cut_loops, BODY, "print(a)\n    print(a)\n    print(b)", "print(a)\n    print(a)\n    print(b)"),
    (filters.cut_loops, "# ‸", "-" * 40, "-" * 40),
    (filters.cut_loops, "x = ‸", "0x00000000", "0x00000000"),
    # white space
    (filters.trim_trailing_space, "x = ‸", "1  ", "1"),
    (filters.trim_trailing_space, BODY, "a = 1  \n    b = 2\n", "a = 1\n    b = 2"),
    (filters.trim_trailing_space, "x = ‸y", "not ", "not "),
    (filters.trim_trailing_space, "x = ‸ + y", "a ", "a"),
    # substance
    (filters.require_substance, "x = ‸", " ", ""),
    (filters.require_substance, "x = ‸", "):", ""),
    (filters.require_substance, "x = ‸", "...", ""),
    (filters.require_substance, "x = ‸", "[]", "[]"),
    (filters.require_substance, "x = ‸", '"";', '"";'),
    (filters.require_substance, "x = ‸", "é", "é"),
    # syntax
    (filters.require_syntax, "x = 1\n‸\n", "1 +* 2", ""),
    (filters.require_syntax, "x = ‸\n", "1 + 2", "1 + 2"),
    (filters.require_syntax, "f(‸)\n", "a, g(b", ""),
    (filters.require_syntax, "x = 🎉\ny = ‸\n", "a", "a"),
]


@pytest.mark.parametrize(("apply", "text", "fill", "expected"), CASES)
def test_filter(apply: Filter, text: str, fill: str, expected: str) -> None:
    assert apply(fill, site(text)) == expected


@pytest.mark.parametrize(
    ("language_id", "text", "fill", "expected"),
    [
        ("python", "self.items[name] = ‸\n", " self.items[name] - count\n", "self.items[name] - count"),
        ("python", "for a in range(‸):\n    b()\n", "attempts):", "attempts"),
        ("python", 'f("--verbose", action=‸, help="say more")\n', '"store_true", help="say more")', '"store_true"'),
        ("python", "def f(x):‸\n\ny = 1\n", "\n    return x\n\ny = 1\n", "\n    return x"),
        ("python", "x = [‸]\n", "1, 2]", "1, 2"),
        ("javascript", "this.items.push(‸);\n", "{ name, price });", "{ name, price }"),
        (
            "javascript",
            "if (!ok) {\n    ‸\n}\n",
            "throw new Error(`a ${b}`);\n}\nreturn c;",
            "throw new Error(`a ${b}`);",
        ),
        ("javascript", "function f() {\n  ‸", "return 1;\n}\n\nf();", "return 1;\n}"),
        ("typescript", "const s = `<${‸}>`;\n", "user.email}>`;", "user.email"),
        ("markdown", "- one\n- ‸\n", " two\n- three", "two"),
        ("markdown", "Some words ‸\n\n## Next\n", "and more.\n\n## Next", "and more."),
        ("markdown", "```sh\npip ‸\n```\n", "install demo\n```", "install demo"),
        ("markdown", "Don't ‸\n", "worry (much) :)", "worry (much) :)"),
        ("plaintext", "f(a, ‸\n", "b)", "b)"),
    ],
)
def test_all_filters_together(language_id: str, text: str, fill: str, expected: str) -> None:
    assert check(fill, site(text, language_id))[0] == expected


@pytest.mark.parametrize("fill", ["", "  \n ", "\n\n", "\r\n"])
def test_an_empty_fill_is_dropped_with_a_reason(fill: str) -> None:
    text, reason = check(fill, site("x = ‸\n"))
    assert text == ""
    assert reason


ALPHABET = "ab1 ()[]{}\"'`\\\n\r\t#/:;,.🎉\u0301|*-"
TEXTS = st.text(st.sampled_from(ALPHABET), max_size=30)
LANGUAGE_IDS = st.sampled_from(["python", "javascript", "markdown", "plaintext", "html", "rust", "yaml", "shellscript"])


@given(TEXTS, TEXTS, TEXTS, LANGUAGE_IDS, st.sampled_from(FinishReason))
@settings(max_examples=300, deadline=None)
def test_whatever_the_model_says_the_answer_is_sound(
    before: str, after: str, fill: str, language_id: str, finish: FinishReason
) -> None:
    snapshot = DocumentSnapshot("file:///a", 1, language_id, before + after)
    tree = SyntaxTrees().around(snapshot, len(before))
    gap = find_gap(snapshot, len(before), tree, invoked=True)
    if gap is None:
        return
    assert gap.start == gap.end == len(before)
    text, reason = check(fill, Site(snapshot, gap, tree), finish)
    assert bool(text) != bool(reason)
    assert "\r" not in text
    assert text == "" or text.strip()
    assert gap.may_span_lines or "\n" not in text
