"""A model of known answers and a realistic bias: fitted confidence finds the right length, raw confidence cannot."""

import math
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from inference.checkpoint import Checkpoint
from inference.denoising import DenoisingSettings, denoise
from inference.formats.chat import ChatFormat
from inference.formats.fim import FimFormat
from inference.formats.gap_length import LengthConfidence, ladder, raw_confidence
from inference.protocol import Fixed, InfillRequest, Masked
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from inference.training import length_calibration
from inference.training.length_calibration import KnownGap, Observation, choices, curves, draw_gaps, fit, observe
from inference.training.tokenizer import infill_spec, save_tokenizer, train_tokenizer
from tests.support.chat_checkpoint import write_chat_tokenizer
from tests.support.fake_denoiser import FakeDenoiser, random_logits
from tests.support.suffix_sensing_denoiser import SuffixSensingDenoiser

LONGEST = 24
SUFFIX = "~\n"
SETTINGS = DenoisingSettings(
    sampler=EntropyBoundSampler(0.1),
    temperature=LinearTemperature(0.4, 0.8),
    stopping=StableAndConfident(1, 0.005),
    max_denoising_steps=3,
)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    folder = tmp_path_factory.mktemp("chat")
    write_chat_tokenizer(folder)
    sizes = {"vocab_size": 340, "max_position_embeddings": 2048}
    return ChatFormat.load(folder, {"canvas_length": 64, "text_config": sizes})


LETTERS = [chr(code) for code in range(0xC0, 0x100) if chr(code).isalpha()][:60]


def known_gaps() -> dict[str, KnownGap]:
    """Sixty gaps of 1 to 24 letters, each known by the last letter before it."""
    rng = random.Random(0)
    gaps = ("".join(rng.choices("xyzw", k=rng.randint(1, LONGEST))) for _ in LETTERS)
    return {letter: KnownGap("python", letter, gap, SUFFIX) for letter, gap in zip(LETTERS, gaps, strict=True)}


@pytest.fixture(scope="module")
def checkpoint(chat: ChatFormat) -> Checkpoint:
    """Of the model that knows them."""
    encode = chat.prompt.encode
    (suffix_start, *_) = encode(SUFFIX)
    answers = {encode(letter)[-1]: (encode(known.gap), suffix_start) for letter, known in known_gaps().items()}
    assert len(answers) == len(LETTERS)
    return Checkpoint("synthetic", SuffixSensingDenoiser(chat.vocab_size, answers), chat, SETTINGS)


@pytest.fixture(scope="module")
def observations(chat: ChatFormat, checkpoint: Checkpoint) -> list[Observation]:
    seen = []
    for number, known in enumerate(known_gaps().values()):
        group = observe(checkpoint, chat.clamped, known, number, LONGEST)
        length = len(chat.prompt.encode(known.gap))
        assert [one.length for one in group] == sorted({*ladder(LONGEST), length})
        assert [one.length for one in group if one.right] == [length]
        seen += group
    return seen


def test_the_fitted_confidence_finds_the_right_length_and_the_raw_one_does_not(
    observations: list[Observation],
) -> None:
    fitted = fit([one for one in observations if one.gap % 2])
    unseen = [one for one in observations if not one.gap % 2]
    assert choices(unseen, fitted).exact > 0.95
    raw = choices(unseen, raw_confidence)
    assert raw.exact < 0.3
    assert raw.octaves_off > 1


@pytest.mark.parametrize("calibrated", [True, False])
def test_the_best_row_of_a_request_is_the_right_fill_only_by_fitted_confidence(
    chat: ChatFormat, checkpoint: Checkpoint, observations: list[Observation], calibrated: bool
) -> None:
    clamped = replace(chat.clamped, confidence=fit(observations) if calibrated else raw_confidence)
    right = asked = 0
    for known in known_gaps().values():
        if len(known.gap) not in ladder(LONGEST):
            continue
        segments = (Fixed(known.prefix), Masked(LONGEST), Fixed(known.suffix))
        prepared = clamped.prepare(InfillRequest(segments=segments, language_id="python"))
        prompt = checkpoint.denoiser.encode(torch.tensor([prepared.prompt_ids]))
        denoised = denoise(
            checkpoint.denoiser, prompt, prepared.canvas, SETTINGS, noise=chat.noise_range, decisive=chat.decisive
        )
        readings = [clamped.read(prepared, row.number, row.token_ids, row.log_probs) for row in denoised.rows]
        asked += 1
        right += max(readings, key=lambda reading: reading.confidence).fills == (known.gap,)
    assert asked > 10
    assert right > 0.9 * asked if calibrated else right < 0.4 * asked


def test_the_raw_confidence_errs_towards_short_gaps(observations: list[Observation]) -> None:
    wrong = [wrong for _, _, wrong in curves(observations) if not math.isnan(wrong)]
    assert wrong[0] > wrong[len(wrong) // 2] > wrong[-1]


def test_the_fit_gives_back_the_curve_that_made_the_data() -> None:
    truth = LengthConfidence(slope=3.0, slope_log=1.0, bias=-2.0, bias_log=-1.5, bias_log2=0.2)
    rng = random.Random(1)
    made = []
    for number in range(20_000):
        length, mean_log_p = rng.choice(ladder(64)), -3 * rng.random()
        right = rng.random() < truth(mean_log_p, length)
        made.append(Observation(number, length, mean_log_p, right))
    fitted = fit(made)
    for length in ladder(64):
        for mean_log_p in (-2.5, -1.0, -0.2):
            assert fitted(mean_log_p, length) == pytest.approx(truth(mean_log_p, length), abs=0.05)


def test_what_separates_perfectly_stays_finite() -> None:
    made = [Observation(gap, length, -1.0, length == 2) for gap in range(5) for length in (1, 2, 3)]
    confidence = fit(made)
    assert all(math.isfinite(value) for value in asdict(confidence).values())
    assert max((1, 2, 3), key=lambda length: confidence(-1.0, length)) == 2
    assert min(confidence.slope, confidence.slope_log) >= 0


def test_a_gap_that_is_too_long_is_left_out(chat: ChatFormat) -> None:
    checkpoint = Checkpoint("synthetic", SuffixSensingDenoiser(chat.vocab_size, {}), chat, SETTINGS)
    assert observe(checkpoint, chat.clamped, KnownGap("python", "a", "xyzw" * 9, SUFFIX), 0, LONGEST) == []


def test_gaps_are_drawn_to_the_ends_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("for item in items:\n    print(item)\n\nreturn\n" * 3)
    gaps = draw_gaps([path], 50, seed=0)
    assert gaps == draw_gaps([path], 50, seed=0)
    assert any("\n" in gap.gap for gap in gaps)
    for gap in gaps:
        assert gap.prefix + gap.gap + gap.suffix == path.read_text()
        assert gap.gap.strip()
        assert gap.language_id == "python"
        assert gap.suffix == "" or gap.suffix.startswith("\n")
    path.write_text(" \n")
    with pytest.raises(ValueError, match="hold no text"):
        draw_gaps([path], 1, seed=0)


@pytest.mark.parametrize("longest", [8, 16])
def test_the_command_writes_a_curve_that_the_folder_then_has(
    chat: ChatFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], longest: int
) -> None:
    path = tmp_path / "code.py"
    path.write_text("a = 1\nb = 2\n" * 20)
    model = Checkpoint("random", FakeDenoiser(chat.vocab_size, random_logits(chat.vocab_size, seed=0)), chat, SETTINGS)
    monkeypatch.setattr(length_calibration, "load_checkpoint", lambda folder, report: model)
    arguments = ["--model", str(tmp_path), "--data", str(path), "--gaps", "12", "--longest", str(longest)]
    length_calibration.main(arguments)
    assert LengthConfidence.load(tmp_path) is not None
    printed = capsys.readouterr().out
    assert "| raw |" in printed
    assert "| calibrated |" in printed


def test_a_folder_that_needs_no_calibration_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat: ChatFormat
) -> None:
    tokenizer = train_tokenizer(["for item in items"], vocabulary=340)
    save_tokenizer(tokenizer, tmp_path)
    infill_spec(tokenizer, max_prompt_tokens=96, confidence_floor=0.25).save(tmp_path)
    model = Checkpoint("fim", SuffixSensingDenoiser(340, {}), FimFormat.load(tmp_path), SETTINGS)
    monkeypatch.setattr(length_calibration, "load_checkpoint", lambda folder, report: model)
    with pytest.raises(SystemExit, match="trained to end a gap itself"):
        length_calibration.main(["--model", str(tmp_path), "--data", str(tmp_path / "tokenizer.json")])
    with pytest.raises(SystemExit, match="missing"):
        length_calibration.main(["--model", str(tmp_path), "--data", str(tmp_path / "missing.py")])
