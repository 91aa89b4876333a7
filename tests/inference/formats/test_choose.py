from pathlib import Path
from typing import Any

import pytest

from inference.formats.chat import ChatFormat
from inference.formats.choose import load_format
from inference.formats.fim import FimFormat
from inference.formats.gap_length import LengthConfidence, raw_confidence
from inference.training.tokenizer import infill_spec, save_tokenizer, train_tokenizer
from tests.support.chat_checkpoint import write_chat_tokenizer

CONFIG: dict[str, Any] = {"canvas_length": 32, "text_config": {"vocab_size": 340, "max_position_embeddings": 1024}}


def test_a_checkpoint_trained_for_gaps_says_so(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["for item in items"], vocabulary=340)
    save_tokenizer(tokenizer, tmp_path)
    infill_spec(tokenizer, max_prompt_tokens=96, confidence_floor=0.25).save(tmp_path)
    fim = load_format(tmp_path, CONFIG)
    assert isinstance(fim, FimFormat)
    assert not fim.takes_instructions
    assert fim.canvas_lengths == fim.spec.canvas_buckets
    with pytest.raises(ValueError, match=r"infill\.json: names tokens up to 319, .* vocabulary of 64; the files"):
        load_format(tmp_path, {"text_config": {"vocab_size": 64}})


def test_any_other_is_asked_in_its_own_chat_template(tmp_path: Path) -> None:
    write_chat_tokenizer(tmp_path)
    chat = load_format(tmp_path, CONFIG)
    assert isinstance(chat, ChatFormat)
    assert (chat.takes_instructions, chat.canvas_lengths) == (True, (16, 32))
    assert (chat.noise_range, chat.confidence_floor) == ((0, 340), 0.0)
    assert chat.clamped.confidence is raw_confidence
    with pytest.raises(ValueError, match=r"tokenizer\.json: names tokens up to .* vocabulary of 64; the files"):
        load_format(tmp_path, {"text_config": {"vocab_size": 64}})


def test_a_calibration_in_the_folder_is_used(tmp_path: Path) -> None:
    write_chat_tokenizer(tmp_path)
    calibrated = LengthConfidence(slope=3.0, slope_log=1.0, bias=-1.0, bias_log=0.5, bias_log2=0.0)
    calibrated.save(tmp_path)
    chat = load_format(tmp_path, CONFIG)
    assert isinstance(chat, ChatFormat)
    assert chat.clamped.confidence == calibrated


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json: is missing; save the checkpoint with its fast tokenizer"):
        load_format(tmp_path, CONFIG)
