"""The cache's bounds, and that it never says what does not belong there."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from inference.protocol import FinishReason
from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.suggest import Suggestion
from lsp_server.typing.anchor import MAX_TAIL
from lsp_server.typing.cache import BUCKET, TypeThrough
from lsp_server.typing.question import Question
from tests.support.typist import CURSOR, KnowingClient, Typist

SOME = Options()


def question(text: str, options: Options = SOME, *, uri: str = "file:///a.py", invoked: bool = False) -> Question:
    snapshot = DocumentSnapshot(uri, 1, "python", text.replace(CURSOR, ""))
    return Question(snapshot, text.index(CURSOR), options, invoked, model="m")


def says(text: str, start: int, end: int | None = None) -> Suggestion:
    return Suggestion(text, start, start if end is None else end, 0.9, FinishReason.GAP_END)


def found(cache: TypeThrough, asked: Question) -> list[str] | None:
    hit = cache.find(asked)
    return None if hit is None else [item.text for item in hit.items]


def test_it_is_bounded_by_count_and_the_least_recently_used_goes() -> None:
    cache = TypeThrough(capacity=3)
    for name in "abc":
        cache.keep(question(f"{name} = ‸\n{name}"), [says("1", 4)])
    assert found(cache, question("a = ‸\na")) == ["1"]
    cache.keep(question("d = ‸\nd"), [says("1", 4)])
    assert len(cache) == 3
    assert found(cache, question("b = ‸\nb")) is None
    assert found(cache, question("a = ‸\na")) == ["1"]


def test_it_is_bounded_by_bytes() -> None:
    cache = TypeThrough(capacity_bytes=50_000)
    for number in range(100):
        cache.keep(question(f"x{number} = ‸\n"), [says("y" * 2000, len(f"x{number} = "))])
        assert cache.size <= 50_000
    assert 0 < len(cache) < 10
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)


def test_one_place_does_not_fill_it() -> None:
    cache = TypeThrough()
    for number in range(BUCKET + 10):
        cache.keep(question(f"x{number} = ‸\n"), [says("1", len(f"x{number} = "))])
    assert len(cache) == BUCKET


def test_asking_again_replaces() -> None:
    cache = TypeThrough()
    for text in ("1", "2"):
        cache.keep(question("x = ‸\n"), [says(text, 4)])
    assert (found(cache, question("x = ‸\n")), len(cache)) == (["2"], 1)


def test_other_documents_options_and_models_have_their_own() -> None:
    cache = TypeThrough()
    cache.keep(question("x = ‸\n"), [says("1", 4)])
    assert found(cache, question("x = ‸\n", uri="file:///b.py")) is None
    assert found(cache, question("x = ‸\n", Options(confidence_floor=0.5))) is None
    assert found(cache, question("x = ‸\n", invoked=True)) is None


def test_what_replaces_text_behind_the_cursor_is_not_kept_and_what_replaces_a_word_before_it_is() -> None:
    cache = TypeThrough()
    cache.keep(question("x = va‸lue\n"), [says("vast", 4, 9)])
    assert len(cache) == 0
    cache.keep(question("x = va‸\n"), [says("value", 4, 6), says("other", 4, 6)])
    assert found(cache, question("x = val‸\n")) == ["ue"]


def test_a_short_document_is_told_by_its_start() -> None:
    cache = TypeThrough()
    cache.keep(question("‸"), [says("import os", 0)])
    assert found(cache, question("import‸")) == [" os"]
    assert found(cache, question("x = 1\nimport‸")) is None


def test_the_same_lines_twice_are_told_apart_by_what_is_typed() -> None:
    cache = TypeThrough()
    lines = "a\nb\nc\nd\n"
    cache.keep(question(f"{lines}‸\nend"), [says(f"{lines}e", len(lines))])
    assert found(cache, question(f"{lines}{lines}‸\nend")) == [f"{lines}e"]


def test_far_above_may_change_and_far_behind_too() -> None:
    cache, options = TypeThrough(), Options(suffix_characters=10)
    filler = "word " * MAX_TAIL
    cache.keep(question(f"{filler}x = ‸ 0123456789 {filler}", options), [says("1", len(filler) + 4)])
    assert found(cache, question(f"new {filler}x = ‸ 0123456789 {filler} new", options)) == ["1"]
    assert found(cache, question(f"{filler}x = ‸ 01234X6789 {filler}", options)) is None


@settings(max_examples=60, deadline=None)
@given(
    st.text("ab(\n", max_size=12), st.text("ab(c\n", min_size=1, max_size=12), st.text("ab)\n", max_size=6), st.data()
)
def test_what_is_found_is_what_accepting_would_have_given(
    before: str, text: str, after: str, data: st.DataObject
) -> None:
    cache = TypeThrough()
    cache.keep(question(f"{before}{CURSOR}{after}"), [says(text, len(before))])
    typed = text[: data.draw(st.integers(0, len(text)))]
    hit = found(cache, question(f"{before}{typed}{CURSOR}{after}"))
    left = text[len(typed) :]
    if left.strip():
        assert hit == [left]
    else:
        assert hit is None or all(one.strip() for one in hit)


KEYS = st.sampled_from(
    ["a", "b", "(‸)", "(", ")", "\n    ", "\n", "⌫", "⌫", "⇥", "⇥word", "⇥line", "←", "→", "", "@0:z\n"]
)
FILLS = ("ab(a, b)", "b(a)", "a\n    ab(b)\n\n    a", "", "bb")


@settings(max_examples=40, deadline=None)
@given(st.lists(KEYS, max_size=25))
def test_what_is_shown_stays_while_it_is_typed(keys: list[str]) -> None:
    """Looking again shows the same; typing what is shown shows the rest; and both without the model."""
    asyncio.run(_type_along(keys))


async def _type_along(keys: list[str]) -> None:
    typist = Typist("def f():\n    ‸\n\nf()\n", KnowingClient(lambda prefix: (FILLS[len(prefix) % len(FILLS)],)))
    for key in keys:
        if key.startswith("⇥") and not typist.items:
            continue
        shown = await typist.press(key)
        asked = typist.asked
        assert await typist.look() == shown
        if not shown:
            continue
        item = typist.items[0]
        left, whole = str(item.insert_text), typist.applied(item)
        assert left.strip()
        if left[1:].strip() and " over " not in shown[0]:
            await typist.press(left[0])
            assert typist.applied(typist.items[0]) == whole
            assert await typist.press("⌫")
        assert typist.asked == asked
