"""Edits by instruction: the selection is the canvas to start from."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import EngineError
from inference.formats.base import Prepared, Reading
from inference.formats.chat import ChatFormat
from inference.formats.edit import EditLayout
from inference.protocol import EditRequest, ErrorCode, FinishReason
from tests.support.chat_checkpoint import CONTROLS


def ask(selection: str, **more: Any) -> EditRequest:
    return EditRequest(**({"selection": selection, "instruction": "rename it", "language_id": "python"} | more))


def layout(prepared: Prepared) -> EditLayout:
    assert isinstance(prepared.layout, EditLayout)
    return prepared.layout


def answer(chat: ChatFormat, prepared: Prepared, text: str) -> list[int]:
    """The canvas of a model that answers ``text`` and ends its turn."""
    size, ids = prepared.canvas.shape[1], prepared.canvas.token_ids[0, : layout(prepared).head].tolist()
    ids += [*chat.prompt.encode(text), chat.prompt.turn_end]
    return [*ids, *[chat.prompt.eos] * (size - len(ids))]


def read(chat: ChatFormat, prepared: Prepared, row_ids: list[int], log_prob: float = 0.0) -> Reading:
    return chat.read(prepared, 0, row_ids, [log_prob] * len(row_ids))


def following(chat: ChatFormat, prepared: Prepared, row_ids: list[int], log_prob: float = 0.0) -> Prepared | None:
    return chat.following(prepared, 0, row_ids, [log_prob] * len(row_ids))


def test_the_prompt_shows_the_file_with_the_selection_marked_then_the_instruction(chat: ChatFormat) -> None:
    prepared = chat.prepare(ask("item", prefix="for ", suffix=" in items:\n", instruction="rename to <turn|>"))
    text = chat.prompt.tokenizer.decode(prepared.prompt_ids, skip_special_tokens=False)
    assert text.startswith("<bos><|turn>user\n")
    assert "for <selection>item</selection> in items:\n" in text
    assert text.endswith("What to do: rename to <turn|><turn|>\n<|turn>model\n")
    assert prepared.prompt_ids.count(chat.prompt.turn_end) == 1  # the other one is letters


def test_the_empty_thought_is_pinned_at_the_head_unless_the_template_wrote_it(
    chat: ChatFormat, launch_chat: ChatFormat
) -> None:
    prepared, at_launch = chat.prepare(ask("item")), launch_chat.prepare(ask("item"))
    head = list(chat.prompt.no_thought)
    assert prepared.canvas.token_ids[0, : len(head)].tolist() == head
    assert prepared.canvas.pinned[0, : len(head)].all()
    assert not at_launch.canvas.pinned[0, : len(head)].any()
    assert at_launch.prompt_ids == [*prepared.prompt_ids, *head]
    for format_, canvas in ((chat, prepared), (launch_chat, at_launch)):
        assert read(format_, canvas, answer(format_, canvas, "thing")).fills == ("thing",)


@given(selection=st.text(min_size=1, max_size=60), strength=st.floats(0, 1), n=st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_the_canvas_is_the_selection_with_room_to_grow_and_a_pinned_tail(
    chat: ChatFormat, selection: str, strength: float, n: int
) -> None:
    prepared = chat.prepare(ask(selection, strength=strength, n=n, seed=1))
    prompt, head = chat.prompt, len(chat.prompt.no_thought)
    kept_text = selection.rstrip() or selection
    draft = prompt.encode(kept_text)
    canvas, end = prepared.canvas, head + layout(prepared).room
    assert canvas.warm is not None
    assert canvas.shape[0] == n
    for ids, pinned, warm in zip(canvas.token_ids, canvas.pinned, canvas.warm, strict=True):
        assert ids[head : head + len(draft)].tolist() == draft
        assert ids[head + len(draft)] == prompt.turn_end
        assert (~pinned).nonzero().flatten().tolist() == list(range(head, min(end, canvas.shape[1])))
        tail = ids[end:].tolist()
        assert tail == [prompt.turn_end, *[prompt.eos] * len(tail)][: len(tail)]
        assert warm[head : head + len(draft)].sum() == len(draft) - round(strength * len(draft))
        assert not (warm & pinned).any()
    again = chat.prepare(ask(selection, strength=strength, n=n, seed=1)).canvas.warm
    assert again is not None
    assert torch.equal(canvas.warm, again)
    assert read(chat, prepared, canvas.token_ids[0].tolist()) == Reading((selection,), 1.0, FinishReason.GAP_END)


@given(text=st.text(max_size=12), trailing=st.sampled_from(["", "\n", " \r\n\n"]))
@settings(max_examples=60, deadline=None)
def test_the_new_text_is_what_the_row_says_and_the_white_space_at_its_end_stays(
    chat: ChatFormat, text: str, trailing: str
) -> None:
    prepared = chat.prepare(ask("for item in items" + trailing))
    head, count = layout(prepared).head, len(chat.prompt.encode(text))
    row_ids = answer(chat, prepared, text)
    log_probs = [-9.0] * head + [math.log(0.5)] * (count + 1) + [-9.0] * (len(row_ids) - head - count - 1)
    reading = chat.read(prepared, 0, row_ids, log_probs)
    fits = count < layout(prepared).room
    assert reading.fills == (text + trailing,) or not fits
    assert reading.confidence == pytest.approx(0.5)
    assert reading.finish_reason is (FinishReason.GAP_END if fits else FinishReason.LENGTH)
    assert following(chat, prepared, row_ids) is None


def test_the_room_is_never_exceeded(chat: ChatFormat) -> None:
    prepared = chat.prepare(ask("item"))
    (letter,), room = chat.prompt.encode("x"), layout(prepared).room
    row_ids = prepared.canvas.token_ids[0].tolist()
    row_ids[layout(prepared).head : layout(prepared).head + room] = [letter] * room
    assert read(chat, prepared, row_ids) == Reading(("x" * room,), 1.0, FinishReason.LENGTH)
    assert following(chat, prepared, row_ids) is None


def test_a_long_selection_is_rewritten_canvas_after_canvas(chat: ChatFormat) -> None:
    selection = "".join(f"name_{number} = {number}\r\n" for number in range(60))
    prepared: Prepared | None = chat.prepare(ask(selection, strength=0.25, seed=0))
    canvases = 0
    while prepared is not None:
        last, canvases = prepared, canvases + 1
        assert prepared.canvas.warm is not None
        if canvases == 1:
            assert not prepared.canvas.pinned[:, layout(prepared).head :].any()
        row_ids = prepared.canvas.token_ids[0].tolist()
        prepared = following(chat, prepared, row_ids, log_prob=math.log(0.5))
        if prepared is not None:
            assert prepared.prompt_ids == [*last.prompt_ids, *row_ids]
            assert prepared.canvas.shape[0] == 1
    assert canvases == -(-len(chat.prompt.encode(selection)) // 256) or canvases > 2
    reading = chat.read(last, 0, row_ids, [math.log(0.5)] * len(row_ids))
    assert reading == Reading((selection,), pytest.approx(0.5), FinishReason.GAP_END)


def test_a_longer_answer_than_the_selection_goes_on_from_noise(chat: ChatFormat) -> None:
    (letter,) = chat.prompt.encode("x")
    first = chat.prepare(ask("q" * 230))
    full = [*first.canvas.token_ids[0, : layout(first).head].tolist(), *[letter] * 300][:256]
    further = following(chat, first, full)
    assert further is not None
    assert further.canvas.warm is None or not further.canvas.warm.any()
    assert read(chat, further, [letter, letter, chat.prompt.turn_end]).fills == ("x" * (256 - layout(first).head + 2),)


# --- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["current", "launch"])
def test_a_thought_comes_first_and_is_not_part_of_the_answer(
    chat: ChatFormat, launch_chat: ChatFormat, template: str
) -> None:
    format_ = chat if template == "current" else launch_chat
    prompt, request = format_.prompt, ask("item", thinking=True, strength=0.0, n=2)
    first = format_.prepare(request)
    text = prompt.tokenizer.decode(first.prompt_ids, skip_special_tokens=False)
    assert "<|turn>system\n<|think|>\n<turn|>\n" in text
    assert text.endswith("<|turn>model\n")
    head = list(prompt.thought_opening)
    assert first.canvas.shape == (2, 256)
    assert first.canvas.token_ids[:, : len(head)].tolist() == [head] * 2
    assert first.canvas.pinned.nonzero().tolist() == [[row, at] for row in (0, 1) for at in range(len(head))]

    thinking_on = [*head, *prompt.encode("x" * 400)][:256]
    assert read(format_, first, thinking_on) == Reading(("item",), 0.0, FinishReason.LENGTH)  # nothing is lost yet
    second = following(format_, first, thinking_on, log_prob=-9.0)
    assert second is not None
    assert second.prompt_ids == [*first.prompt_ids, *thinking_on]
    assert not second.canvas.pinned.any()

    thought = [*prompt.encode("done"), prompt.thought_end]
    third = following(format_, second, [*thought, *prompt.encode("thing" * 50)], log_prob=-9.0)
    assert third is not None
    assert third.prompt_ids == [*second.prompt_ids, *thought]
    assert third.canvas.token_ids[0, :5].tolist()[: len(prompt.encode("item"))] == prompt.encode("item")
    assert third.canvas.warm is not None
    assert third.canvas.warm[0, 0]
    reading = read(format_, third, answer(format_, third, "thing"), log_prob=math.log(0.5))
    assert reading == Reading(("thing",), pytest.approx(0.5), FinishReason.GAP_END)


def test_an_endless_thought_is_closed(chat: ChatFormat) -> None:
    (letter,) = chat.prompt.encode("x")
    prepared = chat.prepare(ask("item", thinking=True))
    canvases = 0
    while layout(prepared).thought is not None:
        further = following(chat, prepared, [letter] * 256)
        assert further is not None
        prepared, canvases = further, canvases + 1
    assert canvases <= chat.edit.max_thought_tokens / 256 + 1
    assert prepared.prompt_ids[-1] == CONTROLS.index("<channel|>")


# --- bad input -------------------------------------------------------------------------------------------------------


def test_without_an_instruction_mistakes_are_corrected(chat: ChatFormat) -> None:
    text = chat.prompt.text(chat.prepare(ask("item", instruction="")).prompt_ids)
    assert "What to do: correct what is wrong" in text
    assert chat.takes_instructions


def test_a_selection_that_the_model_cannot_read_is_refused(narrow_chat: ChatFormat) -> None:
    with pytest.raises(EngineError, match="a model that reads 780; select less") as caught:
        narrow_chat.prepare(ask("q" * 500))
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_what_is_cut_from_the_far_ends_is_counted(chat: ChatFormat) -> None:
    prepared = chat.prepare(ask("item", prefix="p" * 6000 + "\n", suffix="z" * 3000))
    assert len(prepared.prompt_ids) + prepared.canvas.shape[1] <= 4096
    text = chat.prompt.text(prepared.prompt_ids)
    kept = text.count("p" * 10) * 10
    assert prepared.truncated_tokens > 0
    assert kept > 1000
    assert "p\n<selection>item</selection>zzz" in text
    whole = len(chat.prompt.encode("p" * 6000 + "\n")) + len(chat.prompt.encode("z" * 3000))
    frame = chat.prepare(ask("item")).prompt_ids
    assert prepared.truncated_tokens == whole - (len(prepared.prompt_ids) - len(frame))
