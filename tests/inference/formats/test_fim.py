"""Segments to prompt and canvas, and canvas rows back to text, with a real byte-level tokenizer."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import EngineError
from inference.formats.base import Prepared, Reading
from inference.formats.fim import FimFormat
from inference.formats.infill_spec import InfillSpec
from inference.protocol import EditRequest, ErrorCode, FinishReason, Fixed, InfillRequest, Masked
from inference.training.tokenizer import infill_spec, save_tokenizer, train_tokenizer

BUDGET = 96 - 4  # of prefix and suffix together: four control tokens stand in every prompt
BLOCK = BUDGET // 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fim")
    tokenizer = train_tokenizer(["for item in items:\n    print(item)\n", "größer 你好 🙂"], vocabulary=340)
    save_tokenizer(tokenizer, path)
    infill_spec(tokenizer, max_prompt_tokens=96, confidence_floor=0.25).save(path)
    return path


@pytest.fixture(scope="module")
def fim(folder: Path) -> FimFormat:
    return FimFormat.load(folder)


def ask(prefix: str, suffix: str, max_tokens: int = 8, n: int = 1, language: str = "python") -> InfillRequest:
    return InfillRequest(segments=(Fixed(prefix), Masked(max_tokens), Fixed(suffix)), language_id=language, n=n)


def row(fim: FimFormat, text: str, length: int = 32) -> list[int]:
    """The clean canvas of a gap."""
    return fim.spec.canvas(fim.tokenizer.encode(text, add_special_tokens=False).ids, length)


def read(fim: FimFormat, prepared: Prepared, row_ids: list[int]) -> Reading:
    """As a model reads it back that is certain of everything."""
    return fim.read(prepared, 0, row_ids, [0.0] * len(row_ids))


def next_canvas(fim: FimFormat, prepared: Prepared, row_ids: list[int], log_prob: float = 0.0) -> Prepared | None:
    return fim.following(prepared, 0, row_ids, [log_prob] * len(row_ids))


def sides(fim: FimFormat, prompt_ids: list[int]) -> tuple[list[int], list[int]]:
    """Prefix and suffix ids of a prompt."""
    middle = prompt_ids.index(fim.spec.prefix)
    return prompt_ids[middle + 1 :], prompt_ids[3:middle]


def test_the_prompt_is_suffix_first(fim: FimFormat) -> None:
    prepared = fim.prepare(ask("for item", "print"))
    spec, encode = fim.spec, lambda text: fim.tokenizer.encode(text).ids
    assert prepared.prompt_ids == [
        spec.bos, spec.languages["python"], spec.suffix, *encode("print"), spec.prefix, *encode("for item")
    ]  # fmt: skip
    assert prepared.truncated_tokens == 0


def test_an_unknown_language_is_plain_text(fim: FimFormat) -> None:
    assert fim.prepare(ask("", "", language="klingon")).prompt_ids[1] == fim.spec.languages["plaintext"]


@pytest.mark.parametrize(
    ("max_tokens", "length"), [(1, 16), (15, 16), (16, 32), (31, 32), (63, 64), (64, 128), (127, 128), (5000, 128)]
)
def test_the_canvas_is_the_smallest_that_holds_the_gap_and_its_end(
    fim: FimFormat, max_tokens: int, length: int
) -> None:
    canvas = fim.prepare(ask("a", "b", max_tokens, n=3)).canvas
    assert canvas.shape == (3, length)
    assert not canvas.pinned.any()
    assert canvas.warm is None


def test_segments_on_either_side_are_joined(fim: FimFormat) -> None:
    request = InfillRequest(segments=(Fixed("for "), Fixed("item"), Masked(4), Fixed("pri"), Fixed("nt")))
    assert fim.prepare(request).prompt_ids[2:] == fim.prepare(ask("for item", "print", 4)).prompt_ids[2:]


def test_a_lone_gap_is_fine(fim: FimFormat) -> None:
    prepared = fim.prepare(InfillRequest(segments=(Masked(4),)))
    assert len(prepared.prompt_ids) == 4


def test_text_that_spells_a_control_token_stays_text(fim: FimFormat) -> None:
    text = "x = '<|gap_end|>' <|bos|> <|prefix|>"
    prefix_ids, _ = sides(fim, fim.prepare(ask(text, "")).prompt_ids)
    low, high = fim.noise_range
    assert all(low <= token < high for token in prefix_ids)
    assert "".join(fim.pieces(prefix_ids)) == text


@given(text=st.text(max_size=40))
@settings(max_examples=80, deadline=None)
def test_any_text_comes_back_as_it_was(fim: FimFormat, text: str) -> None:
    row_ids = row(fim, text, length=256)
    reading = read(fim, fim.prepare(ask("", "", 255)), row_ids)
    assert reading.fills == (text,)
    assert reading.finish_reason is FinishReason.GAP_END
    pieces = fim.pieces(row_ids)
    assert len(pieces) == 256
    assert "".join(pieces) == text


def test_confidence_is_that_of_the_gap_and_its_end_alone(fim: FimFormat) -> None:
    row_ids = row(fim, "items")
    closed_at = row_ids.index(fim.spec.gap_end)
    log_probs = [math.log(0.5)] * closed_at + [math.log(0.25)] + [-50.0] * (len(row_ids) - closed_at - 1)
    reading = fim.read(fim.prepare(ask("", "")), 0, row_ids, log_probs)
    assert reading.confidence == pytest.approx((0.5**closed_at * 0.25) ** (1 / (closed_at + 1)))


def test_a_gap_that_did_not_close(fim: FimFormat) -> None:
    prepared = fim.prepare(ask("", ""))
    gap_ids = row(fim, "items items items items")[:3]
    cut = read(fim, prepared, [*gap_ids, fim.spec.gap_more])
    assert cut.finish_reason is FinishReason.LENGTH
    endless = read(fim, prepared, gap_ids)
    assert (endless.finish_reason, endless.fills) == (FinishReason.LENGTH, cut.fills)


def test_a_gap_takes_no_more_tokens_than_allowed(fim: FimFormat) -> None:
    row_ids = row(fim, "q" * 12, length=16)
    assert read(fim, fim.prepare(ask("", "", 12)), row_ids) == Reading(("q" * 12,), 1.0, FinishReason.GAP_END)
    assert read(fim, fim.prepare(ask("", "", 11)), row_ids) == Reading(("q" * 11,), 1.0, FinishReason.LENGTH)


def test_an_empty_gap_is_scored_by_its_end(fim: FimFormat) -> None:
    prepared, row_ids = fim.prepare(ask("", "")), row(fim, "")
    reading = fim.read(prepared, 0, row_ids, [math.log(0.5)] * len(row_ids))
    assert (reading.fills, reading.confidence) == (("",), pytest.approx(0.5))


def test_nothing_at_all_is_no_confidence(fim: FimFormat) -> None:
    assert read(fim, fim.prepare(ask("", "")), [fim.spec.pads[0]]).confidence == 0.0


def test_a_character_cut_at_the_end_is_dropped(fim: FimFormat) -> None:
    whole = fim.tokenizer.encode("x = 🦜").ids  # unknown to the merges: one token per byte
    assert read(fim, fim.prepare(ask("", "")), [*whole[:-1], fim.spec.gap_end]).fills == ("x = ",)


def test_bytes_that_are_no_text_are_shown_as_such(fim: FimFormat) -> None:
    lead, *_ = fim.tokenizer.encode("🦜").ids
    (ascii_id,) = fim.tokenizer.encode("x").ids
    assert read(fim, fim.prepare(ask("", "")), [lead, ascii_id, fim.spec.gap_end]).fills == ("\ufffdx",)


def test_the_decisive_positions_end_with_the_gap(fim: FimFormat) -> None:
    rows = [row(fim, "item", 16), [fim.noise_range[0]] * 16]
    decisive = fim.decisive(torch.tensor(rows))
    assert decisive[0].nonzero().flatten().tolist() == list(range(rows[0].index(fim.spec.gap_end) + 1))
    assert decisive[1].all()


# --- the budget -----------------------------------------------------------------------------------------------------


def test_what_fits_is_whole(fim: FimFormat) -> None:
    prepared = fim.prepare(ask("q" * 40, "z" * 52))
    assert [len(side) for side in sides(fim, prepared.prompt_ids)] == [40, 52]
    assert prepared.truncated_tokens == 0


def test_when_both_are_long_the_prefix_gets_two_thirds(fim: FimFormat) -> None:
    prepared = fim.prepare(ask("q" * 300, "z" * 300))
    prefix_ids, suffix_ids = sides(fim, prepared.prompt_ids)
    assert len(suffix_ids) == BUDGET - BUDGET * 2 // 3
    assert BUDGET * 2 // 3 - BLOCK < len(prefix_ids) <= BUDGET * 2 // 3
    assert prepared.truncated_tokens == 600 - len(prefix_ids) - len(suffix_ids)


def test_what_one_side_does_not_need_goes_to_the_other(fim: FimFormat) -> None:
    prefix_ids, suffix_ids = sides(fim, fim.prepare(ask("q" * 300, "z")).prompt_ids)
    assert (len(suffix_ids), len(prefix_ids) > BUDGET - 1 - BLOCK) == (1, True)
    prefix_ids, suffix_ids = sides(fim, fim.prepare(ask("q", "z" * 300)).prompt_ids)
    assert (len(prefix_ids), len(suffix_ids) > BUDGET - 1 - BLOCK) == (1, True)


def test_the_far_ends_are_cut(fim: FimFormat) -> None:
    prefix, suffix = "".join(map(str, range(100))), "".join(map(str, range(100)))
    prefix_ids, suffix_ids = sides(fim, fim.prepare(ask(prefix, suffix)).prompt_ids)
    assert prefix.endswith("".join(fim.pieces(prefix_ids)))
    assert suffix.startswith("".join(fim.pieces(suffix_ids)))


@given(prefix=st.integers(0, 2000), suffix=st.integers(0, 2000))
@settings(max_examples=60, deadline=None)
def test_the_prompt_never_exceeds_its_budget(fim: FimFormat, prefix: int, suffix: int) -> None:
    prepared = fim.prepare(ask("q" * prefix, "z" * suffix))
    assert len(prepared.prompt_ids) <= fim.spec.max_prompt_tokens
    assert (prepared.truncated_tokens > 0) == (len(prepared.prompt_ids) < prefix + suffix + 4)


def test_typing_seldom_changes_the_opening_of_the_prompt(fim: FimFormat) -> None:
    """Else no prefix cache ever hits: a window that slides with every key would change it at each of these."""
    for suffix in ("z" * 300, "z"):
        prompts = [fim.prepare(ask("q" * 250 + "ab" * typed, suffix)).prompt_ids for typed in range(40)]
        extended = sum(after[: len(before)] == before for before, after in pairwise(prompts))
        assert extended > 39 * 0.75


def test_a_long_document_is_cut_before_it_is_tokenised(fim: FimFormat) -> None:
    prepared = fim.prepare(ask("q" * 400_000, "z" * 400_000))
    assert prepared.truncated_tokens == pytest.approx(800_000 - BUDGET, rel=0.001)


# --- canvas after canvas ---------------------------------------------------------------------------------------------


def test_a_closed_gap_needs_no_further_canvas(fim: FimFormat) -> None:
    assert next_canvas(fim, fim.prepare(ask("a", "b", 500)), row(fim, "item", 128)) is None


def test_a_gap_longer_than_its_canvas_goes_on_in_the_next(fim: FimFormat) -> None:
    first = fim.prepare(ask("for ", "!", 200))
    further = next_canvas(fim, first, row(fim, "q" * 128, 128), log_prob=math.log(0.5))
    assert further is not None
    prefix_ids, suffix_ids = sides(fim, further.prompt_ids)
    assert "".join(fim.pieces(prefix_ids)).endswith("q" * 40)
    assert "".join(fim.pieces(suffix_ids)) == "!"
    assert further.canvas.shape == (1, 128)
    reading = read(fim, further, row(fim, "zz", 128))
    assert reading.fills == ("q" * 127 + "zz",)
    assert reading.finish_reason is FinishReason.GAP_END
    assert reading.confidence == pytest.approx(0.5 ** (127 / 130))


def test_the_next_prompt_is_the_old_one_and_what_was_filled(fim: FimFormat) -> None:
    first = fim.prepare(ask("for ", "!", 200))
    row_ids = [*row(fim, "q" * 20, 128)[:20], fim.spec.gap_more]
    further = next_canvas(fim, first, row_ids)
    assert further is not None
    assert further.prompt_ids == [*first.prompt_ids, *row_ids[:20]]
    assert further.truncated_tokens == 0


def test_what_no_longer_fits_behind_a_long_fill_is_cut_and_counted(fim: FimFormat) -> None:
    first = fim.prepare(ask("p" * 20, "z" * 70, 500))
    assert first.truncated_tokens == 0
    further = next_canvas(fim, first, row(fim, "q" * 128, 128))
    assert further is not None
    assert len(further.prompt_ids) <= fim.spec.max_prompt_tokens
    assert further.truncated_tokens == 20 + 127 + 70 - (len(further.prompt_ids) - 4)
    again = next_canvas(fim, further, row(fim, "q" * 128, 128))
    assert again is not None
    assert again.truncated_tokens == 20 + 127 * 2 + 70 - (len(again.prompt_ids) - 4)


def test_a_gap_goes_on_until_its_tokens_are_spent(fim: FimFormat) -> None:
    prepared: Prepared | None = fim.prepare(ask("for ", "!", 10_000))
    canvases, full = 0, row(fim, "q" * 128, 128)
    while prepared is not None:
        canvases, last = canvases + 1, prepared
        prepared = next_canvas(fim, prepared, full)
    assert canvases == -(-10_000 // 127)
    assert read(fim, last, full) == Reading(("q" * 10_000,), 1.0, FinishReason.LENGTH)


@pytest.mark.parametrize("stuck", ["pad", "nothing but more"])
def test_a_canvas_that_leads_nowhere_is_the_last(fim: FimFormat, stuck: str) -> None:
    (text_id,) = fim.tokenizer.encode("q").ids
    row_ids = [text_id, fim.spec.pads[0]] if stuck == "pad" else [fim.spec.gap_more, text_id]
    assert next_canvas(fim, fim.prepare(ask("a", "b", 500)), row_ids) is None


def test_a_character_across_two_canvases_is_whole(fim: FimFormat) -> None:
    whole = fim.tokenizer.encode("🦜").ids
    further = next_canvas(fim, fim.prepare(ask("a", "b", 99)), [*whole[:2], fim.spec.gap_more])
    assert further is not None
    assert read(fim, further, [*whole[2:], fim.spec.gap_end]).fills == ("🦜",)


# --- several gaps ----------------------------------------------------------------------------------------------------

THREE = (Fixed("a("), Masked(4), Fixed(") b("), Masked(4), Fixed(") c("), Masked(4), Fixed(") d"))


def test_gaps_are_filled_one_after_the_other_each_reading_those_before(fim: FimFormat) -> None:
    first = fim.prepare(InfillRequest(segments=THREE, language_id="python", n=2))
    assert first.canvas.shape == (2, 16)
    assert first.prompt_ids == fim.prepare(ask("a(", ") b() c() d", 4)).prompt_ids
    assert read(fim, first, row(fim, "1")).fills == ("1", "", "")
    second = fim.following(first, 1, row(fim, "1"), [math.log(0.5)] * 32)
    assert second is not None
    assert second.canvas.shape == (1, 16)
    assert second.prompt_ids == fim.prepare(ask("a(1) b(", ") c() d", 4)).prompt_ids
    third = fim.following(second, 0, row(fim, "22"), [math.log(0.25)] * 32)
    assert third is not None
    assert third.prompt_ids == fim.prepare(ask("a(1) b(22) c(", ") d", 4)).prompt_ids
    last = read(fim, third, row(fim, ""))
    assert (last.fills, last.finish_reason) == (("1", "22", ""), FinishReason.GAP_END)
    assert last.confidence == pytest.approx((0.5**2 * 0.25**3) ** (1 / 6))
    assert next_canvas(fim, third, row(fim, "")) is None


def test_a_gap_that_ran_out_of_tokens_is_told_at_the_end(fim: FimFormat) -> None:
    first = fim.prepare(InfillRequest(segments=THREE[:4]))
    second = next_canvas(fim, first, row(fim, "qqqqqqq"))
    assert second is not None
    assert read(fim, second, row(fim, "1")) == Reading(("qqqq", "1"), 1.0, FinishReason.LENGTH)


# --- starting from text ---------------------------------------------------------------------------------------------


def test_the_first_row_starts_from_what_is_expected(fim: FimFormat) -> None:
    canvas = fim.prepare(ask("for ", "!", 4, n=3), expected="q" * 20).canvas
    assert canvas.shape == (3, 32)  # larger than the gap may get: the expected text fits
    assert canvas.token_ids[0].tolist() == row(fim, "q" * 20, 32)
    assert canvas.warm is not None
    assert canvas.warm.all(dim=-1).tolist() == [True, False, False]
    assert not canvas.warm[1:].any()


def test_expecting_nothing_is_an_expectation(fim: FimFormat) -> None:
    canvas = fim.prepare(ask("for ", "!", 4), expected="").canvas
    assert canvas.token_ids[0].tolist() == row(fim, "", 16)
    assert canvas.warm is not None
    assert canvas.warm.all()


def test_an_edit_starts_from_the_selection(fim: FimFormat) -> None:
    request = EditRequest(prefix="for ", selection="q" * 20, suffix="!", language_id="python", strength=0.0, n=2)
    prepared = fim.prepare(request)
    assert prepared.prompt_ids == fim.prepare(ask("for ", "!")).prompt_ids
    assert prepared.canvas.shape == (2, 64)  # with room to grow
    assert prepared.canvas.token_ids.tolist() == [row(fim, "q" * 20, 64)] * 2
    assert prepared.canvas.warm is not None
    assert prepared.canvas.warm.all()
    assert read(fim, prepared, row(fim, "q" * 36, 64)).finish_reason is FinishReason.GAP_END


@pytest.mark.parametrize(("strength", "noise"), [(0.0, 0), (0.1, 2), (0.5, 10), (1.0, 20)])
def test_strength_is_the_share_of_the_selection_that_starts_as_noise(
    fim: FimFormat, strength: float, noise: int
) -> None:
    request = EditRequest(selection="q" * 20, strength=strength, n=8, seed=3)
    warm = fim.prepare(request).canvas.warm
    assert warm is not None
    assert (~warm[:, :20]).sum(dim=-1).tolist() == [noise] * 8
    again = fim.prepare(request).canvas.warm
    assert again is not None
    assert torch.equal(warm, again)
    if 0 < strength < 1:
        assert not torch.equal(warm[0], warm[1])


def test_a_long_selection_is_edited_canvas_after_canvas(fim: FimFormat) -> None:
    first = fim.prepare(EditRequest(selection="".join(map(str, range(100))), strength=0.0))
    row_ids = first.canvas.token_ids[0].tolist()
    assert row_ids[-1] == fim.spec.gap_more
    second = next_canvas(fim, first, row_ids)
    assert second is not None
    assert second.canvas.warm is not None
    reading = read(fim, second, second.canvas.token_ids[0].tolist())
    assert reading == Reading(("".join(map(str, range(100))),), 1.0, FinishReason.GAP_END)


@pytest.mark.parametrize("asked", [{"instruction": "rename x"}, {"thinking": True}])
def test_instructions_are_refused_with_the_way_out(fim: FimFormat, asked: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="without 'instruction' and 'thinking'") as caught:
        fim.prepare(EditRequest(selection="x", **asked))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert not fim.takes_instructions


def test_a_selection_beyond_every_gap_is_refused(fim: FimFormat) -> None:
    with pytest.raises(EngineError, match="select less") as caught:
        fim.prepare(EditRequest(selection="qz" * 9000))
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert fim.prepare(EditRequest(selection="q" * 16_000)).canvas.shape == (1, 128)


# --- folders that do not fit ----------------------------------------------------------------------------------------


def test_the_files_are_named_when_they_are_broken(folder: Path, tmp_path: Path) -> None:
    spec = InfillSpec.load(folder)
    spec.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json: cannot be read"):
        FimFormat.load(tmp_path)


def test_a_tokenizer_that_lacks_the_control_tokens_is_refused(folder: Path, tmp_path: Path) -> None:
    save_tokenizer(train_tokenizer(["small"], vocabulary=312), tmp_path)
    InfillSpec.load(folder).save(tmp_path)
    with pytest.raises(ValueError, match=r"has 31\d tokens, but infill\.json names token 339"):
        FimFormat.load(tmp_path)


def test_a_tokenizer_that_is_not_byte_level_is_refused(folder: Path, tmp_path: Path) -> None:
    InfillSpec.load(folder).save(tmp_path)
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text().replace("Ġ", "▁"))
    with pytest.raises(ValueError, match="must be a byte-level tokenizer"):
        FimFormat.load(tmp_path)


# --- continuations --------------------------------------------------------------------------------------------------

WRITTEN = st.text(st.sampled_from("forinpt (:)\n  äß你🙂="), max_size=12)


@settings(max_examples=200, deadline=None)
@given(prefix=WRITTEN, text=WRITTEN, suffix=WRITTEN)
def test_a_continuation_spells_the_end_of_the_prefix_the_text_and_the_head_of_the_suffix(
    fim: FimFormat, prefix: str, text: str, suffix: str
) -> None:
    prepared = fim.prepare(ask(prefix, suffix, max_tokens=64))
    found = fim.continuation(prepared, text)
    assert found is not None
    assert found.token_ids[0] == prepared.prompt_ids[found.shared]
    tail = fim.token_bytes.text(prepared.prompt_ids[found.shared + 1 :])
    assert prefix.endswith(tail)
    spelt = b"".join(map(fim.token_bytes.of.__getitem__, found.token_ids[1:]))
    assert (tail + text + suffix).encode().startswith(spelt)
    behind = b"".join(map(fim.token_bytes.of.__getitem__, found.token_ids[len(found.token_ids) - found.head :]))
    size = len((tail + text).encode())
    assert len(spelt) - len(behind) >= size  # none of the text is left to the head
    assert not found.head or len(spelt) > size
    assert found.head == 3 or (tail + text + suffix).encode() == spelt


def test_a_text_that_begins_inside_a_token_is_spelt_as_the_file_will_be(fim: FimFormat) -> None:
    prepared = fim.prepare(ask("for item in it", ":\n"))
    found = fim.continuation(prepared, "ems")
    assert found is not None
    whole = fim.tokenizer.encode("for item in items:\n").ids
    assert list(found.token_ids[1:]) == whole[-(len(found.token_ids) - 1) :]
    assert fim.token_bytes.text(found.token_ids[-found.head :]) == ":\n"


def test_all_texts_of_a_request_share_the_same_part_of_the_prompt(fim: FimFormat) -> None:
    prepared = fim.prepare(ask("for item in items", "\n"))
    found = [fim.continuation(prepared, text) for text in ("", ":", " or []:")]
    assert len({one.shared for one in found if one is not None}) == 1
    assert None not in found


@pytest.mark.parametrize("max_tokens", [1, 3])
def test_a_text_longer_than_the_gap_is_none(fim: FimFormat, max_tokens: int) -> None:
    prepared = fim.prepare(ask("for", "\n", max_tokens=max_tokens))
    text = fim.token_bytes.text(fim.tokenizer.encode("print(item) for item").ids[: max_tokens + 1])
    assert fim.continuation(prepared, text) is None
    shorter = fim.token_bytes.text(fim.tokenizer.encode(text).ids[:max_tokens])
    assert fim.continuation(prepared, shorter) is not None


def test_no_continuation_for_several_gaps_or_beyond_a_canvas(fim: FimFormat) -> None:
    segments = (Fixed("a"), Masked(3), Fixed("b"), Masked(3))
    assert fim.continuation(fim.prepare(InfillRequest(segments=segments)), "x") is None
    assert fim.continuation(fim.prepare(ask("", "", max_tokens=5000)), "x, " * 200) is None
