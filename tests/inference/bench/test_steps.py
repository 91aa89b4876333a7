"""The step bench on a CPU, with a model small enough to be random and quick."""

import io
import json
import time
from pathlib import Path

import pytest
import torch

from inference.bench import heartbeat, runner, steps
from inference.bench.case import Case, Scene
from inference.bench.clock import Clock, Timing
from inference.bench.floor import Bandwidth, Floor, StepBytes, expected_hits, measured_hits
from inference.bench.ours import Ours
from inference.bench.random_model import SHAPES, random_model, read_shape
from inference.bench.random_weights import RandomWeights
from inference.bench.time_limit import time_limit
from inference.models.lean_denoiser import LeanDenoiser
from inference.models.lean_tensors import LeanTensors
from inference.models.text_config import TextConfig

CPU = torch.device("cpu")
SMALL = {"shape": "tiny", "device": "cpu", "prompt": 40, "canvas": 8, "batch": 2, "steps": 2, "runs": 3}
FAST = [f"--{name}={value}" for name, value in SMALL.items()]


def test_every_line_is_printed_and_kept_also_those_that_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "steps.json"
    chosen = ["--experts", "grouped_mm,eager", "--precision", "bf16,fp8"]
    assert steps.main([*FAST, *chosen, "--json", str(kept)]) == 0
    report = json.loads(kept.read_text())
    rows = {(row["variant"], row["how"]): row for row in report["rows"]}
    wanted = [(variant, how) for variant in ("ours", "lean") for how in ("bf16", "fp8")]
    wanted += [(variant, how) for variant in ("decoder", "generate") for how in ("grouped_mm", "eager")]
    for place in wanted:
        row = rows[place]
        assert row["timing"]["runs"] == 3
        assert row["problem"] == ""
        assert 0 < row["experts_hit"] <= 1
        assert row["floor_ms"] > 0
    assert rows["fill 12", "bf16"]["timing"]["runs"] == 3
    assert rows["graph", "bf16"]["timing"] is None
    assert rows["ours", "fp8"]["floor_ms"] < rows["ours", "bf16"]["floor_ms"]
    assert rows["lean", "bf16"]["timing"]["median_ms"] > 0
    assert report["bandwidth_read_gb_s"] > 0
    printed = capsys.readouterr().out
    assert "ours_graph bf16             8     2 RuntimeError: needs a CUDA device" in printed
    assert printed.count("\ndecoder ") == 2
    assert printed.count("\n8x2 ") == 2


def test_what_does_not_fit_into_the_time_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert steps.main([*FAST, "--budget", "0", "--compiled", "8x2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("left out: the time is up") == 2 + len(steps.VARIANTS) + 1


def test_a_slow_variant_ends_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert steps.main([*FAST, "--variants", "lean,decoder", "--variant-budget", "0.001"]) == 0
    assert capsys.readouterr().out.count("TimeoutError") == 4


@pytest.mark.parametrize("name", ["Ours", "random_model"])
def test_a_model_that_cannot_be_made_leaves_the_others_their_turn(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError("the weights need 50.4 GB, and cuda:0 has 2.0 GB left")

    monkeypatch.setattr(runner, name, fails)
    assert steps.main([*FAST, "--variants", "lean,decoder"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("MemoryError: the weights need 50.4 GB") == 1
    assert printed.count("decoder    grouped_mm") + printed.count("lean       bf16") == 1


@pytest.mark.parametrize("content", [None, "[]", "{}", '{"text_config": {"hidden_size": "wide"}}'])
def test_a_shape_it_cannot_use_is_a_usage_error(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    assert steps.main(["--shape", str(path)]) == 2
    assert f"{path} is no shape" in capsys.readouterr().err


def test_a_model_that_does_not_fit_is_refused_before_it_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = json.loads(SHAPES["tiny"].read_text())
    shape["text_config"]["vocab_size"] = 10**12
    path = tmp_path / "config.json"
    path.write_text(json.dumps(shape))
    assert steps.main(["--shape", str(path), "--device", "cpu", "--variants", "ours,decoder"]) == 0
    assert capsys.readouterr().out.count("MemoryError: the weights need 64000.0 GB") == 2


def test_a_device_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert steps.main([*FAST, "--device", "cuda:99"]) == 3
    assert "cuda:99 cannot be used: " in capsys.readouterr().err


def test_an_unknown_variant_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        steps.main(["--variants", "fastest"])
    assert "fastest is not among" in capsys.readouterr().err


def test_the_large_shape_has_the_weights_that_its_checkpoint_has() -> None:
    model = random_model(read_shape("26b-a4b"), torch.device("meta"), torch.bfloat16)
    weights = sum(weight.nbytes for weight in model.parameters())
    assert weights == pytest.approx(50.5e9, rel=1e-3)
    text = TextConfig.from_mapping(model.config.text_config.to_dict())
    assert StepBytes.of(text, torch.bfloat16).total == pytest.approx(weights, rel=1e-3)
    assert StepBytes.of(text, torch.bfloat16, fp8=True).total == pytest.approx(weights / 2, rel=0.04)
    assert RandomWeights(text, CPU, torch.bfloat16).size_bytes == pytest.approx(weights, rel=1e-3)
    assert Floor(StepBytes.of(text, torch.bfloat16), Bandwidth(4000, 4200)).ms() == pytest.approx(50.5 / 4.2, rel=1e-3)
    LeanTensors(text, RandomWeights(text, CPU, torch.bfloat16), CPU, torch.bfloat16, print)  # which misses none
    types = model.config.text_config.layer_types
    assert [index for index, kind in enumerate(types) if kind == "full_attention"] == [5, 11, 17, 23, 29]


def test_encoder_and_decoder_share_their_memory() -> None:
    model = random_model(read_shape("tiny"), CPU, torch.float32)
    encoder, decoder = model.model.encoder.language_model, model.model.decoder
    assert model.lm_head.weight is decoder.embed_tokens.weight is encoder.embed_tokens.weight
    for one, other in zip(encoder.layers, decoder.layers, strict=True):
        assert one.experts.gate_up_proj.data_ptr() == other.experts.gate_up_proj.data_ptr()


def test_a_random_model_computes_as_one_that_transformers_made() -> None:
    """Its buffers are right too: the other model computes them itself, and only the weights are the same."""
    model = random_model(read_shape("tiny"), CPU, torch.float32)
    other = type(model)(read_shape("tiny")).eval()
    other.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(1)
    prompt_ids, canvas_ids = (torch.randint(512, (1, length), generator=generator) for length in (40, 8))
    with torch.inference_mode():
        found, expected = (m(input_ids=prompt_ids, decoder_input_ids=canvas_ids).logits for m in (model, other))
    assert torch.equal(found, expected)
    assert expected.std() > 0.01


def test_every_weight_is_filled() -> None:
    model = random_model(read_shape("tiny"), CPU, torch.bfloat16)
    for part in (model.model.encoder.language_model, model.model.decoder):
        for name, weight in part.named_parameters():
            ones = "norm" in name or name.endswith("scale")
            assert (weight == 1).all() if ones else 0.01 < weight.float().std() < 0.03, name


def ours() -> Ours:
    config = read_shape("tiny")
    weights = RandomWeights(TextConfig.from_mapping(config.text_config.to_dict()), CPU, torch.float32)
    described = {"text_config": config.text_config.to_dict()}
    denoiser = LeanDenoiser.load(described, weights, CPU, torch.float32, lambda *_: None)
    return Ours(denoiser, Scene(Clock(CPU), 16, 2, 512, torch.Generator().manual_seed(0)))


def test_hits_are_counted() -> None:
    found = ours()
    few, many = (measured_hits(found.denoiser, *found.inputs(Case(length, 1))) for length in (1, 64))
    assert few == 2 / 8
    assert few < many <= 1


def test_random_weights_are_those_of_a_fresh_model() -> None:
    weights = RandomWeights(TextConfig.from_mapping(read_shape("tiny").text_config.to_dict()), CPU, torch.float32)
    for name in weights:
        ones = "norm" in name or "scal" in name
        assert (weights[name] == 1).all() if ones else 0.01 < weights[name].std() < 0.03, name


def test_only_what_takes_long_shows_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "PATIENCE_S", 0.1)
    monkeypatch.setattr(heartbeat, "INTERVAL_S", 0.1)
    quick, slow = io.StringIO(), io.StringIO()
    with heartbeat.heartbeat("nothing", quick):
        pass
    with heartbeat.heartbeat("waiting", slow):
        time.sleep(0.5)
    assert quick.getvalue() == ""
    assert slow.getvalue().count("... waiting, 0 s") >= 2


def test_expected_hits() -> None:
    assert expected_hits(128, 8, 1) == 8 / 128
    assert expected_hits(128, 8, 16) * 128 == pytest.approx(82, abs=0.5)
    assert expected_hits(128, 8, 64) * 128 == pytest.approx(126, abs=0.5)


def test_a_step_is_the_difference_of_two_runs() -> None:
    longer, shorter = Timing(120.0, 110.0, 130.0, 5), Timing(20.0, 15.0, 30.0, 5)
    assert longer.per_step(shorter, 10) == Timing(10.0, 8.0, 11.5, 5)


def test_the_clock_takes_the_median_and_stops_in_time() -> None:
    pauses = iter([0.0, 0.0, 0.03, 0.001, 0.002, *([0.2] * 99)])
    timing = Clock(CPU, runs=50, warm_up=2, limit_s=0.01).measure(lambda: time.sleep(next(pauses)))
    assert timing.runs == 3
    assert timing.least_ms <= timing.median_ms < 25 < timing.most_ms


def test_the_time_limit_ends_the_work_and_only_that() -> None:
    with pytest.raises(TimeoutError, match="not done after 0 s"), time_limit(0.05):
        time.sleep(5)
    with time_limit(0.05):
        pass
    time.sleep(0.1)
