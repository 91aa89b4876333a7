import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.syntax.ending import admitted
from lsp_server.syntax.gaps import EndRule, Gap, GapKind
from lsp_server.syntax.languages import JAVASCRIPT, PYTHON, SQL, C, Language


def gap(kind: GapKind, rule: EndRule, *, lines: bool, indent: str = "", closer: str = "", unclosed: str = "") -> Gap:
    return Gap(
        kind=kind, start=0, end=0, end_rule=rule, may_span_lines=lines, max_tokens=31, indent=indent, closer=closer,
        unclosed=unclosed,
    )  # fmt: skip


TAIL = gap(GapKind.LINE_TAIL, EndRule.LINE, lines=False)
CALL = gap(GapKind.BRACKET, EndRule.CLOSER, lines=False, closer=")")
STRING = gap(GapKind.STRING, EndRule.CLOSER, lines=False, closer='"')
NAME = gap(GapKind.IDENTIFIER, EndRule.WORD, lines=False)
BODY = gap(GapKind.BLOCK, EndRule.DEDENT, lines=True, indent="    ")
STATEMENT = gap(GapKind.STATEMENT, EndRule.STATEMENT, lines=True, indent="    ")
OPEN_BODY = gap(GapKind.BLOCK, EndRule.DEDENT, lines=True, indent="    ", unclosed="}")
PROSE = gap(GapKind.PARAGRAPH, EndRule.PARAGRAPH, lines=True)


@pytest.mark.parametrize(
    ("one", "language", "text"),
    [
        (TAIL, PYTHON, "1 + 2¦\ny = 3"),
        (TAIL, PYTHON, "f(a, [1])¦) + 2"),
        (TAIL, PYTHON, 'f(")")¦)'),
        (CALL, PYTHON, "a, (b)¦) + c"),
        (CALL, PYTHON, "it's¦)"),
        (STRING, PYTHON, 'a \\" b¦" + c'),
        (NAME, PYTHON, "größe_2¦(x)"),
        (NAME, PYTHON, "¦ x"),
        (BODY, PYTHON, "a()\n\n    b()¦\nc()"),
        (BODY, PYTHON, 'x = """\nflush\n"""\n    b()¦\nc()'),
        (BODY, PYTHON, "# f(\n    b()¦\nc()"),
        (BODY, C, "a();\n#ifdef X\n    b();\n#endif\n    c();¦\n}"),
        (BODY, JAVASCRIPT, "x = `\nflush ${a}\n`;\n    b();¦\n}"),
        (BODY, JAVASCRIPT, "if (a) {\n        b();\n    }¦\n}"),
        (OPEN_BODY, JAVASCRIPT, "a();\n}¦\n}"),
        (STATEMENT, PYTHON, "a = 1¦\n\n    b = 2"),
        (STATEMENT, PYTHON, "a = [\n        1,\n\n        2,\n    ]¦\n\n    b"),
        (STATEMENT, JAVASCRIPT, "if (a) {\n        b();\n\n        c();\n    }¦\n\n    d();"),
        (STATEMENT, None, "cat <<EOF\n\nflush\nEOF\n    b¦\nc"),
        (STATEMENT, SQL, "-- (\n    a¦\nb"),
        (PROSE, None, "One (two\nthree.¦\n\nFour."),
    ],
)
def test_a_gap_ends_where_its_rule_says(one: Gap, language: Language | None, text: str) -> None:
    end = text.index("¦")
    assert admitted(text.replace("¦", ""), one, language) == end


@given(
    st.text(st.sampled_from("ab \n(){}[]\"'`#/<E\\"), max_size=60),
    st.sampled_from([TAIL, CALL, STRING, BODY, STATEMENT]),
)
def test_what_is_admitted_is_admitted_again(text: str, one: Gap) -> None:
    end = admitted(text, one, JAVASCRIPT)
    assert 0 <= end <= len(text)
    if one is not STRING and not any(quote in text for quote in "\"'`<"):
        assert admitted(text[:end], one, JAVASCRIPT) == end
