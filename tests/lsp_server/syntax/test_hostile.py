"""Text that nobody sane writes: every grammar must give an answer, soon, and leave the process alive."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax import trees as trees_module
from lsp_server.syntax.gaps import EndRule, find_gap
from lsp_server.syntax.injections import injected_at
from lsp_server.syntax.languages import HTML, LANGUAGES, MARKDOWN, PHP, YAML, Language
from lsp_server.syntax.trees import INJECTED_LIMIT_S, MAX_YAML_DEPTH, SyntaxTrees, parse

BINARY = "".join(map(chr, (random.Random(0).randrange(1, 0x250) for _ in range(10_000))))
TEXTS = {
    "deep nesting": "([{" * 5_000,
    "deep tags": "<div>" * 3_000,
    "deep indentation": "\n".join(" " * depth + "a:" for depth in range(300)),
    "deep keywords": "if a then do begin " * 1_500,
    "a long line": "a = b + " * 25_000,
    "a long word": "a" * 200_000,
    "broken quotes": "x = \"a\ny = 'b\n`" * 2_000,
    "interpolation without end": '"#{${$(`' * 2_000,
    "comments without end": "/* <!-- -- # // " * 2_000,
    "here documents": "<<A <<B\n" * 1_500,
    "broken emphasis": "*a _b **c " * 3_000,
    "markers": "- ? > : " * 2_000,
    "binary": BINARY,
    "NUL": "\0a\n" * 4_000,
    "blank lines": "\n" * 50_000,
}
every_language = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)


class CountingClock:
    """Time passes by being looked at: ``step`` seconds each time."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks * self.step


@every_language
def test_a_parse_looks_at_the_clock_and_stops_when_its_time_is_up(
    language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = CountingClock(step=0.1)
    monkeypatch.setattr(trees_module, "time", clock)
    text = b"<i>\n<?php f(); ?>\n</i>\n" if language in (HTML, PHP) else b"a: [b, {c}]\n\n"
    assert parse(language, text * 20_000, limit_s=0.55) is None
    assert clock.looks == 1 + 6  # once for the deadline, then until it has passed, and never again


@every_language
def test_hostile_text_gets_an_answer(language: Language) -> None:
    for number, (name, text) in enumerate(TEXTS.items()):
        snapshot = DocumentSnapshot("file:///a", 1, language.name, text)
        offset = len(text) // (1 + number % 2)
        trees = SyntaxTrees(limit_s=0.02)
        began = time.monotonic()
        gap = find_gap(snapshot, offset, trees.around(snapshot, offset), invoked=True)
        assert time.monotonic() - began < 5, name
        assert gap is None or gap.start == gap.end == offset, name


PIECES = [
    "a",
    " ",
    "\n",
    "    ",
    "\t",
    "\r\n",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<p>",
    "</p>",
    "<?php ",
    "?>",
    '"',
    "'",
    "`",
]
PIECES += [
    "#",
    "//",
    "/*",
    "*/",
    "--",
    ":",
    ";",
    ",",
    "= ",
    "def f",
    "end",
    "if x ",
    "do",
    "import ",
    "é",
    "🎉",
    "```",
    "$(",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.sampled_from(LANGUAGES), st.floats(0, 1), st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_text_anywhere_has_a_gap_or_none(
    pieces: list[str], language: Language, place: float, invoked: bool
) -> None:
    text = "".join(pieces)
    offset = int(place * len(text))
    snapshot = DocumentSnapshot("file:///a", 1, language.name, text)
    gap = find_gap(snapshot, offset, SyntaxTrees().around(snapshot, offset), invoked=invoked)
    if gap is not None:
        assert gap.start == gap.end == offset
        assert not gap.indent.strip()
        assert (gap.end_rule is EndRule.CLOSER) == bool(gap.closer)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(" " * depth + "a:" for depth in range(300)),
        "\n".join("  " * depth + "- a:" for depth in range(130)),
        "- " * 300,
        "? " * 300,
        "a:\n" + " " * 119 + "- " * 150,
    ],
)
def test_yaml_that_would_end_the_process_is_not_parsed(text: str) -> None:
    assert parse(YAML, utf8(text)) is None


def test_yaml_as_deep_as_people_write_it_is_parsed() -> None:
    assert parse(YAML, utf8("\n".join("  " * depth + "a:" for depth in range(MAX_YAML_DEPTH // 2))))
    assert parse(YAML, utf8("- " * (MAX_YAML_DEPTH - 1) + "a"))
    assert parse(YAML, b"a: " + b"long text " * 1_000)


def test_a_piece_of_another_language_has_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def watched(language: Language, source: bytes, previous: object = None, limit_s: float = 1.0) -> None:
        limits.append(limit_s)

    for language, text in ((MARKDOWN, "```python\nf(\n```\n"), (HTML, "<script>\nf(\n</script>\n")):
        snapshot = DocumentSnapshot("file:///a", 1, language.name, text)
        tree = parse(language, utf8(text))
        assert tree
        offset = text.index("f(") + 2
        assert injected_at(snapshot, offset, tree)
        monkeypatch.setattr("lsp_server.syntax.gaps.parse", watched)
        assert find_gap(snapshot, offset, tree)
    assert limits == [INJECTED_LIMIT_S] * 2
