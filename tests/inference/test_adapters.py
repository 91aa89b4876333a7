"""LoRA adapters in PEFT's format: what PEFT adds to a weight is added here, on each side its own; the rest is refused.

``tests/data/peft_adapter`` was written by PEFT, see ``make.py`` there.
"""

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from inference.adapters import AdaptedWeights
from inference.errors import EngineError
from inference.models.lean_denoiser import LeanDenoiser
from inference.weights import DECODER, ENCODER, Weights, encoder_name, shared_name
from tests.support.lora_adapter import halves, write_adapter
from tests.support.tiny_checkpoint import tiny_config, tiny_model, write_tiny_checkpoint

PEFT = Path(__file__).parents[1] / "data" / "peft_adapter"
Q = "layers.0.self_attn.q_proj"
EXPERTS = "layers.1.experts"
PROMPT, CANVAS = torch.arange(60, 80)[None], torch.arange(100, 116)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("base"))


def adapted(base: Path, adapter: Path) -> AdaptedWeights:
    weights = Weights(base)
    return AdaptedWeights(weights, weights, adapter)


def test_what_peft_adds_is_added(tmp_path: Path) -> None:
    """Encoder and decoder, layers and experts, patterns of ranks and alphas, rslora: as PEFT itself computed it."""
    model = tiny_model_for_peft()
    save_file(model, tmp_path / "model.safetensors")
    weights = Weights(tmp_path)
    ours = AdaptedWeights(weights, weights, PEFT)
    theirs = load_file(PEFT / "deltas.safetensors")
    changed = {name for name in weights if not torch.equal(ours[name], weights[name])}
    assert changed == {name for name in theirs if name.startswith(DECODER)}
    assert ours.own == {name for name in theirs if name.startswith(ENCODER)}
    for name, delta in theirs.items():
        torch.testing.assert_close(ours[name] - weights[shared_name(name)], delta.float(), atol=0.01, rtol=0.002)


def tiny_model_for_peft() -> dict[str, Tensor]:
    from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion

    torch.manual_seed(0)
    model = DiffusionGemmaForBlockDiffusion(tiny_config(64, moe_intermediate_size=24))
    return {name: value.clone() for name, value in model.state_dict().items() if name.startswith(DECODER)}


@pytest.mark.parametrize("sides", [(DECODER,), (ENCODER,), (DECODER, ENCODER)])
def test_the_model_answers_as_with_the_adapter_alive(base: Path, tmp_path: Path, sides: tuple[str, ...]) -> None:
    """Merged weights against hooks that add scale * B(A x) to each wrapped layer's answer, as a live adapter does."""
    tensors = dict[str, Tensor]()
    for seed, side in enumerate(sides):
        tensors |= halves(side + Q, 32, 32, seed=seed) | halves(f"{side}layers.1.mlp.up_proj", 48, 32, seed=seed + 7)
    adapter = write_adapter(tmp_path / "adapter", tensors)
    plain = tiny_model(340, sharpness=50.0)
    live = copy.deepcopy(plain)
    for name in {name.rpartition(".lora_")[0] for name in tensors}:
        low, high = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
        live.get_submodule(name).register_forward_hook(adding(low, high, 6 / 2))
    described = plain.config.to_dict()
    merged = LeanDenoiser.load(described, adapted(base, adapter), torch.device("cpu"), torch.float32, lambda *_: None)
    prompt, zero = merged.encode(PROMPT), torch.zeros(1, 16, 32)
    expected, ours, without = logits(live), merged.denoise(CANVAS, prompt, zero), logits(plain)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(without, expected, atol=1e-2)


def adding(low: Tensor, high: Tensor, scale: float) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    return lambda module, given, answer: answer + scale * (given[0] @ low.T) @ high.T


@torch.inference_mode()
def logits(model: nn.Module) -> Tensor:
    found: Tensor = model(input_ids=PROMPT, decoder_input_ids=CANVAS).logits
    return found[0]


def test_the_same_change_on_both_sides_needs_no_tensor_of_the_encoders_own(base: Path, tmp_path: Path) -> None:
    tensors = halves(DECODER + Q, 32, 32) | halves(ENCODER + Q, 32, 32)
    weights = adapted(base, write_adapter(tmp_path / "adapter", tensors))
    assert not weights.own
    assert set(weights) == set(Weights(base))


def test_what_only_the_decoder_has_needs_none_either(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", halves(f"{DECODER}self_conditioning.up_proj", 48, 32))
    weights = adapted(base, adapter)
    assert not weights.own
    assert not torch.equal(
        weights[f"{DECODER}self_conditioning.up_proj.weight"],
        Weights(base)[f"{DECODER}self_conditioning.up_proj.weight"],
    )


def test_a_change_of_one_side_leaves_the_other_its_weight(base: Path, tmp_path: Path) -> None:
    weights, plain = adapted(base, write_adapter(tmp_path / "adapter", halves(ENCODER + Q, 32, 32))), Weights(base)
    name = f"{DECODER}{Q}.weight"
    assert weights.own == {encoder_name(name)}
    assert encoder_name(name) in weights
    assert torch.equal(weights[name], plain[name])
    assert not torch.equal(weights[encoder_name(name)], plain[name])
    with pytest.raises(KeyError):
        weights[encoder_name(f"{DECODER}layers.0.mlp.up_proj.weight")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_sum_is_rounded_once(tmp_path: Path, dtype: torch.dtype) -> None:
    weight = torch.randn(32, 32).to(dtype)
    save_file({f"{DECODER}{Q}.weight": weight}, tmp_path / "model.safetensors")
    pair = halves(DECODER + Q, 32, 32)
    merged = adapted(tmp_path, write_adapter(tmp_path / "adapter", pair, use_rslora=True))[f"{DECODER}{Q}.weight"]
    low, high = pair.values()
    exact = weight.double() + 6 / math.sqrt(2) * high.double() @ low.double()
    assert merged.dtype == dtype
    torch.testing.assert_close(merged.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-5)


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def holding(tensors: dict[str, Tensor]) -> Callable[[Path], object]:
    return lambda folder: write_adapter(folder, tensors)


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def cut_short(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


LOW = torch.zeros(2, 32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("adapter_config.json"), r"adapter_config\.json is missing; --adapter takes the folder of a PEFT"),
        (without("adapter_model.safetensors"), r"adapter_model\.safetensors is missing"),
        (pickled, r"adapter_model\.bin is a pickle, which can run code"),
        (cut_short, r"adapter_model\.safetensors is damaged or cut short"),
        (config(peft_type="LOHA"), r"describes LOHA; only LoRA"),
        (config(use_dora=True), r"asks for use_dora, which is not supported"),
        (config(fan_in_fan_out=True, bias="all"), r"asks for fan_in_fan_out, bias, which"),
        (config(init_lora_weights="pissa_niter_4"), r"asks for init_lora_weights, which"),
        (config(modules_to_save=["lm_head"]), r"asks for modules_to_save, which"),
        (config(r=0), r"has no rank \(r\) and lora_alpha that can be used"),
        (config(r=4), r"gives .*q_proj another rank"),
        (config(lora_alpha="much"), r"has no rank \(r\) and lora_alpha that can be used"),
        (config(rank_pattern={"q_proj": "many"}), r"has a pattern of ranks or alphas that cannot be used"),
        (config(alpha_pattern={"(": 1}), r"has a pattern of ranks or alphas that cannot be used"),
        (holding(halves(DECODER + Q, 64, 32)), r"made for another shape of model: .*q_proj is \[32, 32\] here"),
        (holding(halves(f"{DECODER}{EXPERTS}", 32, 48)), r"made for another shape of model: .*experts is"),
        (holding(halves("model.layers.0.self_attn.q_proj", 32, 32)), r"does not have; it belongs to another model"),
        (holding(halves("lm_head", 340, 32)), r"changes the vocabulary's weights \(lm_head\)"),
        (holding({f"{DECODER}{Q}.lora_A.weight": LOW}), r"lacks one half of .*q_proj"),
        (holding({f"{DECODER}{Q}.lora_magnitude_vector": LOW}), r"which is no LoRA of a linear layer"),
        (holding({}), r"changes nothing in the text model"),
        (holding(halves("model.encoder.vision_tower.a.linear", 16, 16)), r"changes nothing in the text model"),
    ],
)
def test_what_cannot_be_merged_is_refused_in_one_sentence(
    base: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = write_adapter(tmp_path / "adapter", halves(DECODER + Q, 32, 32))
    assert adapted(base, folder)
    damage(folder)
    with pytest.raises(EngineError, match=message) as caught:
        adapted(base, folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{not json", "[]", ""])
def test_a_config_that_is_none(base: Path, tmp_path: Path, content: str) -> None:
    folder = shutil.copytree(PEFT, tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(content)
    with pytest.raises(EngineError, match=r"adapter_config\.json"):
        adapted(base, folder)
