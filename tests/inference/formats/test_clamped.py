"""Gaps between pins: what is given stands on every row as it was, and what a row says comes back as it is."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.formats.base import Prepared, Reading
from inference.formats.chat import ChatFormat
from inference.formats.clamped import SUFFIX_HEAD, ClampedLayout
from inference.formats.gap_length import ladder
from inference.protocol import FinishReason, Fixed, InfillRequest, Masked, Proposal
from tests.support.chat_checkpoint import CONTROLS

TEXT = st.lists(
    st.one_of(st.sampled_from([*CONTROLS, "🙂", "\r\n", "\n", "item", "    "]), st.text(max_size=5)), max_size=12
).map("".join)


def ask(prefix: str, suffix: str, max_tokens: int = 8, n: int = 1) -> InfillRequest:
    return InfillRequest(segments=(Fixed(prefix), Masked(max_tokens), Fixed(suffix)), language_id="python", n=n)


def layout(prepared: Prepared) -> ClampedLayout:
    assert isinstance(prepared.layout, ClampedLayout)
    return prepared.layout


def read(chat: ChatFormat, prepared: Prepared, row: int, row_ids: list[int], log_prob: float = 0.0) -> Reading:
    return chat.read(prepared, row, row_ids, [log_prob] * len(row_ids))


def filled_row(chat: ChatFormat, prepared: Prepared, row: int, *gaps: list[int]) -> list[int]:
    """A row with these tokens in its gaps, repeated until they fill."""
    ids = prepared.canvas.token_ids[row].tolist()
    for (start, end), gap in zip(layout(prepared).rows[row].spans, gaps, strict=True):
        ids[start:end] = (gap * (end - start))[: end - start]
    return ids


def open_row(prepared: Prepared) -> int:
    return next(index for index, row in enumerate(layout(prepared).rows) if not row.pinned_tail)


# --- the prompt ------------------------------------------------------------------------------------------------------


def test_the_prompt_shows_the_suffix_first_and_opens_the_models_turn_with_the_prefix(chat: ChatFormat) -> None:
    prepared = chat.prepare(ask("def f(x):\n    ", "\nprint(f(1))\n"))
    text = chat.prompt.tokenizer.decode(prepared.prompt_ids, skip_special_tokens=False)
    assert text.startswith("<bos><|turn>user\n")
    assert "Language: python\n<suffix>\n\nprint(f(1))\n\n</suffix>" in text
    assert text.endswith("<turn|>\n<|turn>model\n<|channel>thought\n<channel|>def f(x):\n    ")


def test_the_prompt_is_the_same_whoever_writes_the_empty_thought(chat: ChatFormat, launch_chat: ChatFormat) -> None:
    request = ask("for item", "print")
    assert chat.prepare(request).prompt_ids == launch_chat.prepare(request).prompt_ids


def test_a_long_prefix_is_shown_in_both_turns_without_a_seam(narrow_chat: ChatFormat) -> None:
    prefix = "".join(f"x{number}\n" for number in range(30))
    prepared = narrow_chat.prepare(ask(prefix, "!"))
    text = narrow_chat.prompt.tokenizer.decode(prepared.prompt_ids, skip_special_tokens=False)
    head = text.partition("<prefix>\n")[2].partition("\n</prefix>")[0]
    tail = text.partition("<channel|>")[2]
    assert head
    assert head.endswith("\n")  # the model takes over at the start of a line
    assert prefix.endswith(head + tail)
    assert len(head + tail) > len(prefix) / 2


@given(prefix=TEXT, suffix=TEXT)
@settings(max_examples=60, deadline=None)
def test_what_is_cut_from_the_far_ends_is_counted(narrow_chat: ChatFormat, prefix: str, suffix: str) -> None:
    prefix, suffix = prefix * 6, suffix * 6
    prepared = narrow_chat.prepare(ask(prefix, suffix))
    context, encode, text = layout(prepared).context, narrow_chat.prompt.encode, narrow_chat.prompt.text
    kept = len(context.prefix_ids) + len(context.suffix_ids)
    assert len(encode(prefix)) + len(encode(suffix)) - kept == prepared.truncated_tokens
    assert encode(prefix)[len(encode(prefix)) - len(context.prefix_ids) :] == context.prefix_ids
    assert encode(suffix)[: len(context.suffix_ids)] == context.suffix_ids
    assert text(encode(prefix)) == prefix
    assert len(prepared.prompt_ids) + prepared.canvas.shape[1] <= 780


@pytest.mark.parametrize("suffix", ["z\n", "z\n" * 3000], ids=["short suffix", "suffix over budget"])
def test_typing_only_appends_to_the_prompt_but_where_a_block_is_full(chat: ChatFormat, suffix: str) -> None:
    """Else no prefix cache ever hits."""
    typed = "".join(f"name_{number} = {number}\n" for number in range(300))
    prompts = [chat.prepare(ask(typed[:length], suffix)).prompt_ids for length in range(3000, 3300)]
    shared = [
        next((at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(before))
        for before, after in pairwise(prompts)
    ]
    only_the_end = sum(len(before) - 6 <= same for before, same in zip(prompts, shared, strict=False))
    assert only_the_end > 0.97 * len(shared)
    assert sum(shared) > 0.98 * sum(map(len, prompts[:-1]))


# --- the canvas ------------------------------------------------------------------------------------------------------


@given(prefix=TEXT, suffix=TEXT, max_tokens=st.integers(1, 300), n=st.sampled_from([1, 2, 8]))
@settings(max_examples=60, deadline=None)
def test_pins_are_the_tokens_of_the_given_text(
    chat: ChatFormat, prefix: str, suffix: str, max_tokens: int, n: int
) -> None:
    prepared = chat.prepare(ask(prefix, suffix, max_tokens, n))
    prompt, rows = chat.prompt, layout(prepared).rows
    head = prompt.encode(suffix)[:SUFFIX_HEAD]
    assert prepared.canvas.shape[1] in chat.canvas_lengths
    tried = ladder(min(max_tokens, chat.clamped.capacity), sparse=n > 1)
    assert [row.length for row in rows if row.pinned_tail] == tried * n
    for ids, pinned, row in zip(prepared.canvas.token_ids, prepared.canvas.pinned, rows, strict=True):
        if row.pinned_tail:
            assert (~pinned).nonzero().flatten().tolist() == list(range(row.length))
            behind = ids[row.length :].tolist()
            assert behind[: len(head) + 1] == [*head, prompt.turn_end]
            assert set(behind[len(head) + 1 :]) <= {prompt.eos}
        else:
            assert max_tokens > chat.clamped.capacity
            assert not pinned.any()


@given(ids=st.lists(st.integers(0, 339), min_size=1, max_size=20), row=st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_a_fill_is_what_the_tokens_of_its_row_say(chat: ChatFormat, ids: list[int], row: int) -> None:
    prepared = chat.prepare(ask("a", "print(item)\n", 12))
    row_ids = filled_row(chat, prepared, row, ids)
    length = layout(prepared).rows[row].length
    said = [index for index in row_ids[:length] if index not in chat.prompt.controls]
    assert read(chat, prepared, row, row_ids, math.log(0.5)) == Reading(
        (chat.prompt.text(said),), pytest.approx(0.5), FinishReason.GAP_END
    )
    assert chat.following(prepared, row, row_ids, [0.0] * len(row_ids)) is None


@pytest.mark.parametrize("max_tokens", [1, 10_000])
@pytest.mark.parametrize("suffix", ["", "\r\nprint('🙂')\r\n", "<turn|><eos>" * 50])
@pytest.mark.parametrize("prefix", ["", "for item in items:\r\n  # 🙂 ", "<turn|><eos>" * 50])
def test_lone_corners(chat: ChatFormat, prefix: str, suffix: str, max_tokens: int) -> None:
    prepared = chat.prepare(ask(prefix, suffix, max_tokens, n=8))
    turn_ends = chat.prepare(ask("", "")).prompt_ids.count(chat.prompt.turn_end)
    assert prepared.prompt_ids.count(chat.prompt.turn_end) == turn_ends
    assert prepared.prompt_ids.count(chat.prompt.eos) == 0
    assert prepared.truncated_tokens == 0
    for row, gap_row in enumerate(layout(prepared).rows[: len(layout(prepared).rows) // 8]):
        if gap_row.pinned_tail:
            row_ids = filled_row(chat, prepared, row, chat.prompt.encode("item"))
            assert set(read(chat, prepared, row, row_ids).fills[0]) <= set("item")
            assert chat.prompt.text(row_ids[gap_row.length :]) == chat.prompt.text(
                chat.prompt.encode(suffix)[:SUFFIX_HEAD]
            )


def test_no_context_at_all(chat: ChatFormat) -> None:
    prepared = chat.prepare(InfillRequest(segments=(Masked(4),)))
    assert [row.length for row in layout(prepared).rows] == [1, 2, 3, 4]
    assert prepared.canvas.shape == (4, 16)


def test_what_decides_a_row_ends_with_the_turn(chat: ChatFormat) -> None:
    turn_end, eos = chat.prompt.turn_end, chat.prompt.eos
    rows = [[50, turn_end, 51, turn_end, eos, eos], [50, 51, 52, 53, 54, 55], [eos] * 6, [50, 51, 52, 53, 54, eos]]
    decisive = chat.decisive(torch.tensor(rows))
    assert decisive.tolist() == [[True] * 4 + [False] * 2, [True] * 6, [True] + [False] * 5, [True] * 6]


# --- several gaps ----------------------------------------------------------------------------------------------------


@given(texts=st.lists(TEXT, min_size=4, max_size=4))
@settings(max_examples=40, deadline=None)
def test_gaps_that_fit_stand_on_one_canvas_with_the_text_between_them_pinned(
    chat: ChatFormat, texts: list[str]
) -> None:
    first, second, third, last = (text[:20] for text in texts)
    segments = (Fixed(first), Masked(6), Fixed(second), Masked(3), Fixed(third), Masked(8), Fixed(last))
    prepared = chat.prepare(InfillRequest(segments=segments))
    encode, canvas = chat.prompt.encode, prepared.canvas
    for row, gap_row in enumerate(layout(prepared).rows):
        lengths = [end - start for start, end in gap_row.spans]
        assert lengths == [min(gap_row.length, limit) for limit in (6, 3, 8)]
        ids = canvas.token_ids[row]
        given_ids = ids[canvas.pinned[row]].tolist()
        head = encode(last)[:SUFFIX_HEAD]
        expected = [*encode(second), *encode(third), *head, chat.prompt.turn_end]
        assert given_ids[: len(expected)] == expected
        gaps = [encode("a"), encode("b"), encode("c")]
        reading = read(chat, prepared, row, filled_row(chat, prepared, row, *gaps))
        assert reading.fills == tuple(letter * length for letter, length in zip("abc", lengths, strict=True))
    text = chat.prompt.text(prepared.prompt_ids)
    assert text.endswith(first)


def test_gaps_that_do_not_fit_follow_one_after_the_other(chat: ChatFormat) -> None:
    segments = (Fixed("a("), Masked(100), Fixed(") b("), Masked(150), Fixed(") c("), Masked(20), Fixed(") d"))
    first = chat.prepare(InfillRequest(segments=segments, language_id="python", n=2))
    assert first.prompt_ids == chat.prepare(ask("a(", ") b() c() d", 100)).prompt_ids
    assert chat.prompt.text(first.canvas.token_ids[0].tolist()).endswith(") b(")  # up to the next gap
    row_ids = filled_row(chat, first, 1, chat.prompt.encode("x"))
    assert read(chat, first, 1, row_ids).fills == ("xx", "", "")
    second = chat.following(first, 1, row_ids, [math.log(0.5)] * len(row_ids))
    assert second is not None
    assert len(layout(second).rows[0].spans) == 2  # the other two fit together
    assert second.prompt_ids == chat.prepare(ask("a(xx) b(", ") d", 100)).prompt_ids
    row_ids = filled_row(chat, second, 0, chat.prompt.encode("y"), chat.prompt.encode("z"))
    reading = read(chat, second, 0, row_ids, math.log(0.125))
    assert reading == Reading(("xx", "y", "z"), pytest.approx(0.25), FinishReason.GAP_END)
    assert chat.following(second, 0, row_ids, [0.0] * len(row_ids)) is None


# --- longer than a canvas --------------------------------------------------------------------------------------------


def test_a_gap_longer_than_the_canvas_goes_on_until_its_tokens_are_spent(chat: ChatFormat) -> None:
    (letter,) = chat.prompt.encode("x")
    prepared: Prepared | None = chat.prepare(ask("for ", "\nprint(item)\n", 700, n=2))
    assert prepared is not None
    full, spent = [letter] * 256, 0
    while prepared is not None and 700 - spent > chat.clamped.capacity:
        last, row = prepared, open_row(prepared)
        reading = read(chat, prepared, row, full)
        assert reading.finish_reason is FinishReason.LENGTH
        prepared = chat.following(prepared, row, full, [0.0] * 256)
        spent += 256
        if prepared is not None:
            assert prepared.prompt_ids == [*last.prompt_ids, *full]
    assert prepared is not None
    assert spent == 512
    row_ids = filled_row(chat, prepared, -1, [letter])
    assert read(chat, prepared, len(layout(prepared).rows) - 1, row_ids) == Reading(
        ("x" * 700,), 1.0, FinishReason.GAP_END
    )


def test_the_tokens_of_a_gap_are_never_exceeded(chat: ChatFormat) -> None:
    (letter,) = chat.prompt.encode("x")
    prepared = chat.prepare(ask("for ", "\nprint(item)\n", 230))
    reading = read(chat, prepared, open_row(prepared), [letter] * 256)
    assert reading == Reading(("x" * 230,), 1.0, FinishReason.LENGTH)
    assert chat.following(prepared, open_row(prepared), [letter] * 256, [0.0] * 256) is None


def test_a_row_without_a_pinned_tail_ends_where_the_suffix_turns_up(chat: ChatFormat) -> None:
    prepared = chat.prepare(ask("for ", "\nprint(item)\n", 10_000))
    answer = [*chat.prompt.encode("x in y:\nprint(item)\n"), chat.prompt.turn_end]
    row_ids = answer + [chat.prompt.eos] * (256 - len(answer))
    reading = read(chat, prepared, open_row(prepared), row_ids)
    assert reading == Reading(("x in y:",), 1.0, FinishReason.GAP_END)
    assert chat.following(prepared, open_row(prepared), row_ids, [0.0] * 256) is None


@pytest.mark.parametrize(("ending", "finish"), [("<turn|>", FinishReason.GAP_END), ("<|channel>", FinishReason.LENGTH)])
def test_a_row_without_a_pinned_tail_ends_with_the_turn(chat: ChatFormat, ending: str, finish: FinishReason) -> None:
    prepared = chat.prepare(ask("for ", "", 10_000))
    control = CONTROLS.index(ending)
    row_ids = [*chat.prompt.encode("x in y"), control, *[chat.prompt.eos] * 200]
    assert read(chat, prepared, open_row(prepared), row_ids) == Reading(("x in y",), 1.0, finish)
    assert chat.following(prepared, open_row(prepared), row_ids, [0.0] * len(row_ids)) is None


def test_a_fill_that_outgrows_the_context_cuts_its_far_end(narrow_chat: ChatFormat) -> None:
    (letter,) = narrow_chat.prompt.encode("x")
    prepared = narrow_chat.prepare(ask("p" * 20, "zq" * 20, 10_000))
    assert prepared.truncated_tokens == 0
    further = narrow_chat.following(prepared, open_row(prepared), [letter] * 256, [0.0] * 256)
    assert further is not None
    context = layout(further).context
    assert further.truncated_tokens == 20 + 256 + 40 - len(context.prefix_ids) - len(context.suffix_ids)
    assert set(context.prefix_ids) == {letter}


# --- choosing a length -----------------------------------------------------------------------------------------------


def test_confidence_is_that_of_the_gap_alone_by_its_length(chat: ChatFormat) -> None:
    prepared = chat.prepare(ask("a", "print(item)\n", 12))
    row_ids = filled_row(chat, prepared, 2, chat.prompt.encode("x"))
    log_probs = [math.log(0.5)] * 3 + [-40.0] * (len(row_ids) - 3)
    assert chat.read(prepared, 2, row_ids, log_probs).confidence == pytest.approx(0.5)


def test_expected_text_is_tried_at_its_own_length_and_next_to_it(chat: ChatFormat) -> None:
    expected = chat.prompt.encode("x" * 7)
    prepared = chat.prepare(ask("a", "print(item)\n", 32, n=2), expected="x" * 7)
    assert [row.length for row in layout(prepared).rows] == [6, 7, 8] * 2
    warm = prepared.canvas.warm
    assert warm is not None
    assert warm.nonzero().tolist() == [[1, position] for position in range(7)]
    assert prepared.canvas.token_ids[1, :7].tolist() == expected


@pytest.mark.parametrize("expected", ["", "x" * 40])
def test_an_expectation_that_no_gap_can_hold_changes_nothing(chat: ChatFormat, expected: str) -> None:
    request = ask("a", "print(item)\n", 32)
    assert layout(chat.prepare(request, expected)).rows == layout(chat.prepare(request)).rows
    assert chat.prepare(request, expected).canvas.warm is None


def proposing(request: InfillRequest, *texts: str) -> InfillRequest:
    return replace(request, proposals=tuple(Proposal(text, 1.0) for text in texts))


def starts(prepared: Prepared) -> list[tuple[int, list[int]]]:
    """Length and tokens of every row that starts from a draft."""
    warm = prepared.canvas.warm
    if warm is None:
        return []
    rows = zip(layout(prepared).rows, prepared.canvas.token_ids, warm, strict=True)
    return [(row.length, ids[kept].tolist()) for row, ids, kept in rows if kept.any()]


@pytest.mark.parametrize("n", [1, 2])
def test_the_two_likeliest_proposals_start_a_row_each_beside_the_ladder(chat: ChatFormat, n: int) -> None:
    request = ask("a", "print(item)\n", 32, n=n)
    texts = ["x" * 7, "y" * 8, "z" * 9]
    prepared = chat.prepare(proposing(request, *texts))
    assert sorted(starts(prepared)) == [(len(text), chat.prompt.encode(text)) for text in texts[:2]]
    plain = [row.length for row in layout(chat.prepare(request)).rows]
    assert sorted(row.length for row in layout(prepared).rows) == sorted([*plain, *[7, 8] * n])


def test_what_is_expected_comes_before_what_is_proposed(chat: ChatFormat) -> None:
    request = proposing(ask("a", "print(item)\n", 32), "y" * 7, "x" * 7)
    prepared = chat.prepare(request, expected="x" * 7)
    assert sorted(starts(prepared)) == [(7, chat.prompt.encode("x" * 7)), (7, chat.prompt.encode("y" * 7))]
    assert sorted(row.length for row in layout(prepared).rows) == [6, 7, 7, 8]


def test_proposals_that_no_gap_can_hold_change_nothing(chat: ChatFormat) -> None:
    request = ask("a", "print(item)\n", 12)
    prepared = chat.prepare(proposing(request, "x" * 40, ""))
    assert layout(prepared).rows == layout(chat.prepare(request)).rows
    assert prepared.canvas.warm is None
    assert chat.calibration is chat.continuation(prepared, "x") is None
