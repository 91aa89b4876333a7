"""Segments to prompt and canvas, and canvas rows back to text, with a real byte-level tokenizer."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import EngineError
from inference.formats.fim import FimFormat
from inference.formats.infill_spec import InfillSpec
from inference.protocol import ErrorCode, FinishReason, Fixed, InfillRequest, Masked
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


def test_several_gaps_are_refused(fim: FimFormat) -> None:
    with pytest.raises(EngineError, match="one gap at a time, but the request has 2") as caught:
        fim.prepare(InfillRequest(segments=(Masked(4), Fixed("x"), Masked(4))))
    assert caught.value.code is ErrorCode.BAD_REQUEST


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
    prepared = fim.prepare(ask("", ""))
    reading = fim.read(prepared, row_ids)
    assert reading.fills == (text,)
    assert reading.finish_reason is FinishReason.GAP_END
    assert row_ids[reading.scored[-1]] == fim.spec.gap_end
    pieces = fim.pieces(row_ids)
    assert len(pieces) == 256
    assert "".join(pieces) == text


def test_a_gap_that_did_not_close(fim: FimFormat) -> None:
    prepared = fim.prepare(ask("", ""))
    gap_ids = row(fim, "items items items items")[:3]
    cut = fim.read(prepared, [*gap_ids, fim.spec.gap_more])
    assert cut.finish_reason is FinishReason.LENGTH
    assert list(cut.scored) == [0, 1, 2]
    endless = fim.read(prepared, gap_ids)
    assert (endless.finish_reason, endless.fills) == (FinishReason.LENGTH, cut.fills)


def test_an_empty_gap_is_scored_by_its_end(fim: FimFormat) -> None:
    reading = fim.read(fim.prepare(ask("", "")), row(fim, ""))
    assert (reading.fills, list(reading.scored)) == (("",), [0])


def test_a_character_cut_at_the_end_is_dropped(fim: FimFormat) -> None:
    whole = fim.tokenizer.encode("x = 🦜").ids  # unknown to the merges: one token per byte
    reading = fim.read(fim.prepare(ask("", "")), [*whole[:-1], fim.spec.gap_end])
    assert reading.fills == ("x = ",)


def test_bytes_that_are_no_text_are_shown_as_such(fim: FimFormat) -> None:
    lead, *_ = fim.tokenizer.encode("🦜").ids
    (ascii_id,) = fim.tokenizer.encode("x").ids
    assert fim.read(fim.prepare(ask("", "")), [lead, ascii_id, fim.spec.gap_end]).fills == ("\ufffdx",)


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
