import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.training.spans import EXCERPT, SHARES, draw_span, excerpt

SOURCE = Path(__file__).read_text()


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    language=st.sampled_from(["python", "javascript", "markdown"]),
    kind=st.sampled_from([None, *SHARES]),
    seed=st.integers(0, 1000),
)
def test_no_text_is_lost(text: str, language: str, kind: str | None, seed: int) -> None:
    span = draw_span(text, language, random.Random(seed), kind)
    assert 0 <= span.start <= span.end <= len(text)
    assert text[: span.start] + text[span.start : span.end] + text[span.end :] == text


def test_kinds_have_their_shares() -> None:
    rng = random.Random(0)
    kinds = [draw_span(SOURCE, "python", rng).kind for _ in range(600)]
    for kind, share in SHARES.items():
        assert kinds.count(kind) / 600 == pytest.approx(share, abs=0.06)


def test_most_cuts_fall_inside_a_word() -> None:
    rng = random.Random(0)
    inside = 0
    for _ in range(400):
        span = draw_span(SOURCE, "python", rng)
        around = SOURCE[max(0, span.start - 1) : span.start + 1]
        inside += len(around) == 2 and all(character.isalnum() or character == "_" for character in around)
    assert inside / 400 >= 0.5


def test_a_line_gap_ends_at_the_end_of_its_line() -> None:
    rng = random.Random(0)
    text = "alpha = beta\r\n  gamma(delta)\r\n"
    for _ in range(50):
        span = draw_span(text, "python", rng, "line")
        assert text[span.end] == "\r"
        assert "\n" not in text[span.start : span.end]


def test_a_node_gap_ends_where_a_node_ends_in_characters() -> None:
    rng = random.Random(0)
    text = "größe = rechne(länge, breite)\n"
    ends = {draw_span(text, "python", rng, "node").end for _ in range(80)}
    assert ends <= {5, 14, 20, 28, 29, 30}
    assert len(ends) > 2


def test_languages_without_grammar_get_lines_for_nodes() -> None:
    assert draw_span("some words here", "markdown", random.Random(0), "node").kind == "line"


def test_an_excerpt_is_whole_lines_of_a_long_text() -> None:
    text = "".join(f"line {number}\n" for number in range(5000))
    part = excerpt(text, random.Random(3))
    assert part in text
    assert part.startswith("line ")
    assert part.endswith("\n")
    assert len(part) <= EXCERPT + 20
    assert excerpt("short", random.Random(0)) == "short"
