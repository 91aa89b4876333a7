"""A folder loads whole or is refused in one sentence that names the file and the way out."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.checkpoint import load_checkpoint
from inference.device import Device
from inference.errors import EngineError
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from tests.support.tiny_checkpoint import write_tiny_checkpoint

CPU = Device("2 CPU threads", "cpu", memory_bytes=0, bfloat16=False)


def silent(progress: float, message: str) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "tiny")


def test_a_whole_folder_loads(folder: Path) -> None:
    reports = list[tuple[float, str]]()
    checkpoint = load_checkpoint(folder, lambda progress, message: reports.append((progress, message)), CPU)
    assert checkpoint.name == "tiny"
    assert checkpoint.denoiser.device == torch.device("cpu")
    assert checkpoint.denoiser.vocab_size == checkpoint.format.noise_range[1] == 340
    assert [progress for progress, _ in reports] == sorted(progress for progress, _ in reports)
    assert all(message for _, message in reports)


def test_the_weights_are_those_of_the_file(folder: Path) -> None:
    """Not random ones: two loads agree, another seed's folder does not."""
    prompt, canvas = torch.arange(56, 66)[None], torch.arange(56, 72)[None]

    def logits(of: Path) -> torch.Tensor:
        denoiser = load_checkpoint(of, silent, CPU).denoiser
        return denoiser.denoise(canvas, denoiser.encode(prompt), None)

    assert torch.equal(logits(folder), logits(folder))
    other = write_tiny_checkpoint(folder.parent / "other", seed=1)
    assert not torch.allclose(logits(folder), logits(other), atol=1e-2)


def test_one_expert_needs_no_transformers(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "dense", experts=1)
    code = (
        "import sys; from pathlib import Path; from inference.checkpoint import load_checkpoint\n"
        "checkpoint = load_checkpoint(Path(sys.argv[1]), lambda *_: None)\n"
        "print(type(checkpoint.denoiser).__name__, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["DenseDenoiser", "False"]


def test_generation_config_says_how_to_denoise(folder: Path) -> None:
    given = {
        "max_denoising_steps": 7,
        "sampler_config": {"entropy_bound": 0.5},
        "t_min": 0.1,
        "t_max": 0.2,
        "stability_threshold": 3,
        "confidence_threshold": 0.02,
    }
    (folder / "generation_config.json").write_text(json.dumps(given))
    settings = load_checkpoint(folder, silent, CPU).settings
    assert settings.max_denoising_steps == 7
    assert settings.sampler == EntropyBoundSampler(0.5)
    assert settings.temperature == LinearTemperature(0.1, 0.2)
    assert settings.stopping == StableAndConfident(3, 0.02)


def test_without_generation_config_it_is_as_in_transformers(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    settings = load_checkpoint(folder, silent, CPU).settings
    assert settings.max_denoising_steps == 48
    assert settings.sampler == EntropyBoundSampler(0.1)
    assert settings.temperature == LinearTemperature(0.4, 0.8)
    assert settings.stopping == StableAndConfident(1, 0.005)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def change(name: str, **values: object) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return apply


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def pickle_instead(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lose_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    write("model.safetensors.index.json", json.dumps({"weight_map": shards}))(folder)


def point_outside(folder: Path) -> None:
    write("model.safetensors.index.json", json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))(folder)


def edit_weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


ROUTER = "model.decoder.layers.0.router.proj.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.json"), r"config\.json is missing; is it a checkpoint folder"),
        (write("config.json", "{not json"), r"config\.json cannot be read as JSON"),
        (write("config.json", "[]"), r"config\.json does not hold a JSON object"),
        (
            change("config.json", model_type="llama", architectures=["LlamaForCausalLM"]),
            r"config\.json describes LlamaForCausalLM; only DiffusionGemma",
        ),
        (change("config.json", text_config={"vocab_size": 300}), r"infill\.json names tokens up to 339, but config"),
        (remove("model.safetensors"), r"model\.safetensors is missing; download"),
        (truncate, r"model\.safetensors is damaged or cut short"),
        (write("model.safetensors", ""), r"model\.safetensors is damaged or cut short"),
        (pickle_instead, r"as a pickle \(pytorch_model\.bin\).*convert it to safetensors"),
        (lose_a_shard, r"model-00002-of-00002\.safetensors is missing"),
        (point_outside, r"points outside its folder"),
        (write("model.safetensors.index.json", "{}"), r"has no 'weight_map'"),
        (remove("tokenizer.json"), r"tokenizer\.json is missing; save the checkpoint with"),
        (write("tokenizer.json", "{}"), r"tokenizer\.json: cannot be read"),
        (remove("infill.json"), r"infill\.json is missing.*clamped format, which is not supported yet"),
        (write("infill.json", "{}"), r"infill\.json: field '\w+' is missing"),
        (change("infill.json", noise_high=10**6), r"tokenizer\.json: has 340 tokens, but infill\.json names"),
        (change("generation_config.json", t_min=0.9), r"generation_config\.json has a setting that cannot be used"),
        (change("generation_config.json", sampler_config=[1]), r"generation_config\.json has a setting that cannot"),
        (edit_weights(lambda tensors: tensors.pop(ROUTER)), r"lack model\.\w+\..*layers\.0\.router\.proj\.weight"),
        (
            edit_weights(lambda tensors: tensors.update({ROUTER: torch.zeros(3, 3)})),
            r"lack model\.\w+\..*router\.proj\.weight.* in the shape that config\.json asks for",
        ),
        (edit_weights(dict.clear), r"the weights in .* lack \S+ and \d+ more in the shape"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(EngineError, match=message) as caught:
        load_checkpoint(folder, silent, CPU)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"nowhere is not a folder; give the folder"):
        load_checkpoint(tmp_path / "nowhere", silent, CPU)


def test_the_checks_come_before_the_slow_imports(folder: Path) -> None:
    (folder / "infill.json").unlink()
    code = (
        "import sys; from pathlib import Path; from inference.checkpoint import load_checkpoint\n"
        "try: load_checkpoint(Path(sys.argv[1]), lambda *_: None)\n"
        "except Exception as error: print(type(error).__name__, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["EngineError", "False"]
