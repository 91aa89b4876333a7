"""A folder loads whole or is refused in one sentence that names the file and the way out."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference import worker_options
from inference.checkpoint import load_checkpoint
from inference.device import Device
from inference.errors import EngineError
from inference.memory import weights_bytes
from inference.models.base import Denoiser
from inference.models.diffusion_gemma import load_diffusion_gemma
from inference.models.graphed import GraphedDenoiser
from inference.models.lean_denoiser import LeanDenoiser
from inference.models.linear import Precision
from inference.protocol import ErrorCode
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from inference.weights import DECODER, ENCODER, Weights
from lsp_server.commands import model_options
from tests.support.lora_adapter import halves, write_adapter
from tests.support.tiny_checkpoint import put_into_hub_cache, write_tiny_checkpoint

CPU = Device("2 CPU threads", "cpu", memory_bytes=0, bfloat16=False)


def silent(progress: float, message: str) -> None:
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("made") / "tiny")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "tiny")


def logits(denoiser: Denoiser) -> torch.Tensor:
    prompt, canvas = torch.arange(56, 66)[None], torch.arange(56, 72)[None]
    return denoiser.denoise(canvas, denoiser.encode(prompt), torch.zeros_like(denoiser.embeddings(canvas)))


def test_a_whole_folder_loads(folder: Path) -> None:
    reports = list[tuple[float, str]]()
    checkpoint = load_checkpoint(folder, lambda progress, message: reports.append((progress, message)), CPU)
    assert checkpoint.name == "tiny"
    assert checkpoint.denoiser.device == torch.device("cpu")
    assert checkpoint.denoiser.vocab_size == checkpoint.format.noise_range[1] == 340
    assert [progress for progress, _ in reports] == sorted(progress for progress, _ in reports)
    assert all(message for _, message in reports)


def test_progress_counts_the_bytes_that_are_read(folder: Path) -> None:
    messages = list[str]()
    load_checkpoint(folder, lambda progress, message: messages.append(message), CPU)
    total = Weights(folder).total_bytes / 1e6
    counted = [re.fullmatch(r"reading weights ([\d.]+) of ([\d.]+) MB", message) for message in messages[1:]]
    assert all(counted)
    done = [float(match[1]) for match in counted if match]
    assert {match[2] for match in counted if match} == {f"{total:.1f}"}
    assert done == sorted(done)
    assert done[-1] > 0.9 * total - 0.1


@pytest.mark.parametrize(("experts", "shard_bytes"), [(1, None), (1, 40_000), (4, None), (4, 40_000)])
def test_every_kind_of_folder_answers_as_transformers_does(
    tmp_path: Path, experts: int, shard_bytes: int | None
) -> None:
    folder = write_tiny_checkpoint(tmp_path / "tiny", experts=experts, shard_bytes=shard_bytes)
    ours = load_checkpoint(folder, silent, CPU).denoiser
    theirs = load_diffusion_gemma(folder, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-4, rtol=1e-4)


def test_the_weights_are_those_of_the_file(folder: Path) -> None:
    """Not random ones: two loads agree, another seed's folder does not."""
    first = logits(load_checkpoint(folder, silent, CPU).denoiser)
    assert torch.equal(first, logits(load_checkpoint(folder, silent, CPU).denoiser))
    other = write_tiny_checkpoint(folder.parent / "other", seed=1)
    assert not torch.allclose(first, logits(load_checkpoint(other, silent, CPU).denoiser), atol=1e-2)


def test_loading_needs_no_transformers(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from inference.checkpoint import load_checkpoint\n"
        "checkpoint = load_checkpoint(Path(sys.argv[1]), lambda *_: None)\n"
        "print(type(checkpoint.denoiser).__name__, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["LeanDenoiser", "False"]


def test_a_model_of_the_hub_has_its_id_for_a_name(folder: Path, tmp_path: Path) -> None:
    snapshot = put_into_hub_cache(folder, tmp_path / "hub", "someone/tiny")
    assert load_checkpoint(snapshot, silent, CPU).name == "someone/tiny"


@pytest.mark.parametrize("sides", [(DECODER, ENCODER), (ENCODER,), (DECODER,)])
@pytest.mark.parametrize("experts", [1, 4])
def test_an_adapter_is_merged(tmp_path: Path, sides: tuple[str, ...], experts: int) -> None:
    """The same change on both sides goes into the shared weight; one side's alone into a weight of its own."""
    folder = write_tiny_checkpoint(tmp_path / "tiny", experts=experts)
    names = [f"{side}layers.0.self_attn.q_proj" for side in sides]
    adapter = write_adapter(tmp_path / "style", {key: it for name in names for key, it in halves(name, 32, 32).items()})
    checkpoint = load_checkpoint(folder, silent, CPU, adapter=adapter)
    assert checkpoint.name == "tiny+style"
    assert isinstance(checkpoint.denoiser, LeanDenoiser)
    expected = load_diffusion_gemma(folder, torch.device("cpu"), torch.float32)
    plain = logits(expected)
    low, high = halves("", 32, 32).values()
    for name in names:
        module = expected.model.get_submodule(name)
        module.weight = torch.nn.Parameter(module.weight + 3 * high @ low, requires_grad=False)
    torch.testing.assert_close(logits(checkpoint.denoiser), logits(expected), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, logits(expected), atol=1e-2)


@pytest.mark.parametrize(
    ("precision", "native", "dtype"),
    [
        ("auto", False, torch.float32),
        ("auto", True, torch.bfloat16),
        ("bf16", False, torch.bfloat16),
        ("fp32", True, torch.float32),
    ],
)
def test_the_precision_is_the_one_asked_for(folder: Path, precision: str, native: bool, dtype: torch.dtype) -> None:
    device = Device("", "cpu", 0, bfloat16=native)
    denoiser = load_checkpoint(folder, silent, device, precision=precision).denoiser
    assert denoiser.embeddings(torch.tensor([60])).dtype == dtype


def test_fp8_is_close(folder: Path) -> None:
    exact = logits(load_checkpoint(folder, silent, CPU, precision="bf16").denoiser)
    close = logits(load_checkpoint(folder, silent, CPU, precision="fp8").denoiser)
    assert not torch.equal(exact, close)
    assert torch.nn.functional.cosine_similarity(exact.flatten(), close.flatten(), dim=0) > 0.95


def test_on_a_gpu_steps_are_graphs_and_only_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is made up: weights have no place on it here, so what would be loaded there is loaded on the CPU."""
    lean = load_checkpoint(folder, silent, CPU).denoiser
    assert type(lean) is LeanDenoiser
    monkeypatch.setattr(LeanDenoiser, "load", lambda *_: lean)
    gpu = Device("a GPU", "cuda:0", memory_bytes=0, bfloat16=True)
    monkeypatch.setattr("inference.memory.free_bytes", lambda kind: None)
    graphed = load_checkpoint(folder, silent, gpu).denoiser
    assert type(graphed) is GraphedDenoiser
    assert torch.equal(logits(graphed), logits(lean))


def test_the_worker_offers_the_precisions_that_there_are() -> None:
    assert set(worker_options.PRECISIONS) == set(model_options.PRECISIONS) == set(Precision)


def test_what_does_not_fit_into_memory_is_refused_before_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, messages = Weights(folder), list[str]()
    exact, half, eighth = (weights_bytes(weights, precision) * 17 / 16 for precision in ("fp32", "bf16", "fp8"))
    assert exact == 2 * half > 2 * eighth

    def load(free: float, precision: str = "auto") -> None:
        monkeypatch.setattr("inference.memory.free_bytes", lambda kind: int(free))
        load_checkpoint(folder, lambda progress, message: messages.append(message), CPU, precision=precision)

    load(exact + 1)
    load(half + 1, "bf16")
    messages.clear()
    with pytest.raises(
        EngineError, match=r"tiny needs .* GB of host memory and .* GB are free; load it with --precis"
    ) as no:
        load(exact - 1)
    assert no.value.code is ErrorCode.OUT_OF_MEMORY
    with pytest.raises(EngineError, match=r"are free; free some, or choose a smaller model or the embedded one"):
        load(eighth - 1)
    with pytest.raises(EngineError, match=r"are free; free some, or choose a smaller model"):
        load(eighth - 1, "fp8")
    assert not any("reading" in message for message in messages)


def test_what_an_adapter_has_twice_counts_twice(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, change = weights_bytes(Weights(folder), "fp32"), halves(f"{ENCODER}layers.0.mlp.up_proj", 48, 32)
    adapter = write_adapter(tmp_path / "style", change)
    free = (plain + 4 * 48 * 32) * 17 / 16
    monkeypatch.setattr("inference.memory.free_bytes", lambda kind: int(free) + 1)
    assert load_checkpoint(folder, silent, CPU, adapter=adapter)
    monkeypatch.setattr("inference.memory.free_bytes", lambda kind: int(free) - 1)
    with pytest.raises(EngineError, match=r"tiny\+style needs"):
        load_checkpoint(folder, silent, CPU, adapter=adapter)
    assert load_checkpoint(folder, silent, CPU)


def test_unknown_memory_is_no_reason_to_refuse(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.memory.free_bytes", lambda kind: None)
    assert load_checkpoint(folder, silent, CPU)


def test_a_quantised_checkpoint_is_left_to_transformers(folder: Path, tmp_path: Path) -> None:
    change("config.json", quantization_config={"quant_method": "gptq", "bits": 4})(folder)
    with pytest.raises(EngineError, match=r"is quantised already; leave --precision fp8 out"):
        load_checkpoint(folder, silent, CPU, precision="fp8")
    adapter = write_adapter(tmp_path / "style", halves(f"{DECODER}layers.0.self_attn.q_proj", 32, 32))
    with pytest.raises(EngineError, match=r"is quantised: no adapter can be merged into it"):
        load_checkpoint(folder, silent, CPU, adapter=adapter)
    with pytest.raises(EngineError, match=r"needs a package that is not installed \(.*GPTQ"):
        load_checkpoint(folder, silent, CPU)


def test_an_unknown_precision_is_refused(folder: Path) -> None:
    with pytest.raises(EngineError, match="there is no precision fp2"):
        load_checkpoint(folder, silent, CPU, precision="fp2")


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
        (change("config.json", text_config={"vocab_size": 300}), r"infill\.json: names tokens up to 339, but config"),
        (remove("model.safetensors"), r"model\.safetensors is missing; download"),
        (truncate, r"model\.safetensors is damaged or cut short"),
        (write("model.safetensors", ""), r"model\.safetensors is damaged or cut short"),
        (pickle_instead, r"as a pickle \(pytorch_model\.bin\).*convert it to safetensors"),
        (lose_a_shard, r"model-00002-of-00002\.safetensors is missing"),
        (point_outside, r"points outside its folder"),
        (write("model.safetensors.index.json", "{}"), r"has no 'weight_map'"),
        (remove("tokenizer.json"), r"tokenizer\.json: is missing; save the checkpoint with"),
        (write("tokenizer.json", "{}"), r"tokenizer\.json: cannot be read"),
        (remove("infill.json"), r"tokenizer\.json: has no token"),
        (write("infill.json", "{}"), r"infill\.json: field '\w+' is missing"),
        (change("infill.json", noise_high=10**6), r"tokenizer\.json: has 340 tokens, but infill\.json names"),
        (change("generation_config.json", t_min=0.9), r"generation_config\.json has a setting that cannot be used"),
        (change("generation_config.json", sampler_config=[1]), r"generation_config\.json has a setting that cannot"),
        (edit_weights(lambda tensors: tensors.pop(ROUTER)), r"lack model\.decoder\.layers\.0\.router\.proj\.weight"),
        (
            edit_weights(lambda tensors: tensors.update({ROUTER: torch.zeros(3, 3)})),
            r"lack model\.decoder\.layers\.0\.router\.proj\.weight in the shape .* that config\.json asks for",
        ),
        (edit_weights(dict.clear), r"the weights lack \S+ in the shape"),
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
