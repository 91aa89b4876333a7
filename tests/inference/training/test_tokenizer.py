from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from inference.formats.infill_spec import InfillSpec
from inference.training.export import DEFAULT_FOLDER
from inference.training.tokenizer import CONTROLS, infill_spec, load_tokenizer, save_tokenizer, train_tokenizer

CODE = "def add(left, right):\n    if left:\n        return left + right\n    return 12\n\n"


@pytest.fixture(scope="module", params=["learnt here", "embedded"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "embedded":
        return DEFAULT_FOLDER
    path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer([CODE] * 20, vocabulary=400), path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False))


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert decode(tokenizer, ids) == text
    assert all(token >= len(CONTROLS) for token in ids)


@pytest.mark.parametrize("text", ["a\r\n\tb\r\n", "\0", "\r", " \n \n", "日本語 ε̃ 🙂", "a  b   \n\n\n    c", CODE])
def test_awkward_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert decode(tokenizer, tokenizer.encode(text).ids) == text


@settings(deadline=None)
@given(left=st.text(max_size=10), control=st.sampled_from(CONTROLS), right=st.text(max_size=10))
def test_text_that_spells_a_control_token_is_data(tokenizer: Tokenizer, left: str, control: str, right: str) -> None:
    text = left + control + right
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert all(token >= len(CONTROLS) for token in ids)
    assert decode(tokenizer, ids) == text


def test_transformers_reads_the_same_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    text = CODE + "<|eos|> x\r\n"
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text).ids
    assert (theirs.pad_token_id, theirs.eos_token_id, theirs.bos_token_id) == (0, 1, 2)


def test_control_tokens_take_the_lowest_ids(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in CONTROLS] == list(range(len(CONTROLS)))


def test_digits_stand_alone_and_a_break_takes_its_indentation(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("x = 2026\n    return").tokens
    assert [token for token in tokens if token.strip("Ġ").isdigit()] == [*"2026"] or "Ġ2" in tokens
    assert "ĊĠĠĠĠ" in tokens


def test_the_spec_names_the_tokenizers_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    spec = infill_spec(tokenizer, 448, 0.3)
    spec.save(tmp_path)
    assert InfillSpec.load(tmp_path) == spec
    assert tokenizer.id_to_token(spec.gap_end) == "<|gap_end|>"
    assert tokenizer.id_to_token(spec.languages["python"]) == "<|lang:python|>"
    assert spec.noise_low == len(CONTROLS)
    assert spec.noise_high == tokenizer.get_vocab_size()
