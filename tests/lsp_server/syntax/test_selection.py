import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap, GapKind
from lsp_server.syntax.selection import selection_gap
from lsp_server.syntax.trees import SyntaxTrees

FUNCTION = "def f(x):\n    a = 1\n    b = 2\n    return a\n"


def gap_of(text: str, language_id: str = "python") -> Gap:
    """The gap of the text between « and »."""
    start, end = text.index("«"), text.index("»") - 1
    snapshot = DocumentSnapshot("file:///a", 1, language_id, text.replace("«", "").replace("»", ""))
    return selection_gap(snapshot, start, end, SyntaxTrees().around(snapshot, start))


@pytest.mark.parametrize(
    ("text", "end_rule", "spans_lines", "indent", "closer", "unclosed"),
    [
        ("x = «1 + 2»\n", "line", False, "", "", ""),
        ("x = f(«a, b»)\n", "closer", False, "", ")", ""),
        ("    «a = 1»\n    b = 2\n", "dedent", True, "    ", "", ""),
        ("def f(x):\n«    a = 1\n    b = 2\n»    return a\n", "dedent", True, "    ", "", ""),
        ("def f(x):\n«\n    a = 1\n    b = 2»\n", "dedent", True, "    ", "", ""),
        ("x = f(«a)»\n", "line", False, "", "", ")"),
        ("x = f([«a, (b)])»\n", "line", False, "", "", "])"),
        ("x = [\n    «1,\n    2,\n»]\n", "closer", True, "    ", "]", ""),
        ("«»\n", "dedent", True, "", "", ""),
    ],
)
def test_a_selection(text: str, end_rule: str, spans_lines: bool, indent: str, closer: str, unclosed: str) -> None:
    gap = gap_of(text)
    assert gap.kind is GapKind.SELECTION
    found = (gap.end_rule.value, gap.may_span_lines, gap.indent, gap.closer, gap.unclosed)
    assert found == (end_rule, spans_lines, indent, closer, unclosed)


def test_the_budget_grows_with_the_selection_up_to_its_limit() -> None:
    budgets = [gap_of(f"«{'a = 1' + chr(10)}»").max_tokens, gap_of("«" + FUNCTION * 2 + "»").max_tokens]
    assert budgets[0] < budgets[1]
    assert gap_of("«" + FUNCTION * 200 + "»").max_tokens == 255
    assert gap_of("x = «" + "a + " * 200 + "b» + c\n").max_tokens == 63


def test_without_a_grammar() -> None:
    gap = gap_of("the «quick» fox", "plaintext")
    assert (gap.start, gap.end, gap.may_span_lines) == (4, 9, False)


@given(st.text(st.sampled_from("ab é🎉\n()[]{}:\"'"), max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_any_selection_of_any_text_is_a_gap(text: str, one: int, other: int) -> None:
    one, other = min(one, len(text)), min(other, len(text))
    snapshot = DocumentSnapshot("file:///a", 1, "python", text)
    gap = selection_gap(snapshot, one, other, SyntaxTrees().around(snapshot, one))
    assert (gap.start, gap.end) == (min(one, other), max(one, other))
    assert gap.max_tokens >= 31
