"""An encoder with weights of its own, as an adapter makes it: computed with them, and no other weight is kept twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.adapters import AdaptedWeights
from inference.models.diffusion_gemma import DiffusionGemmaDenoiser
from inference.models.lean_denoiser import LeanDenoiser
from inference.models.lean_layer import LeanLayer
from inference.weights import DECODER, ENCODER, Weights
from tests.inference.models.test_lean_denoiser import CPU, loaded
from tests.support.lora_adapter import halves, put_into, write_adapter
from tests.support.tiny_checkpoint import tiny_model, write_tiny_checkpoint

TARGETS = {
    "self_attn.q_proj": (32, 32),
    "self_attn.o_proj": (32, 32),
    "mlp.up_proj": (48, 32),
    "mlp.down_proj": (32, 48),
}
EXPERTS = {"experts": (32, 32), "experts.base_layer": (32, 16)}
"""PEFT nests the wrapper of one parameter in that of the other: gates and values here, then the way down."""
SIDES = [(ENCODER,), (DECODER,), (ENCODER, DECODER)]


def adapter_tensors(sides: tuple[str, ...], experts: int) -> dict[str, Tensor]:
    """A change of its own for every target on every side."""
    tensors, seed = dict[str, Tensor](), 0
    for side in sides:
        for name, (out, columns) in TARGETS.items():
            tensors |= halves(f"{side}layers.0.{name}", out, columns, seed=(seed := seed + 1))
        for name, (out, columns) in EXPERTS.items():
            tensors |= halves(f"{side}layers.1.{name}", out, columns, rank=2 * experts, seed=(seed := seed + 1))
    return {key: 0.3 * value for key, value in tensors.items()}  # else the weights are all change, and rounding grows


@pytest.fixture(params=[1, 4])
def experts(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def adapted(tmp_path: Path, experts: int, tensors: dict[str, Tensor]) -> tuple[LeanDenoiser, DiffusionGemmaDenoiser]:
    """The lean model with the adapter merged, and transformers' with the same."""
    weights = Weights(write_tiny_checkpoint(tmp_path / "tiny", experts=experts, sharpness=20.0))
    adapter = AdaptedWeights(weights, weights, write_adapter(tmp_path / "adapter", tensors))
    model = tiny_model(340, experts=experts, sharpness=20.0)
    lean = loaded(model, adapter)
    put_into(model, adapter)
    return lean, DiffusionGemmaDenoiser(model)


@pytest.mark.parametrize("sides", SIDES, ids=["encoder", "decoder", "each its own"])
@torch.inference_mode()
def test_it_equals_transformers_with_the_adapter(tmp_path: Path, experts: int, sides: tuple[str, ...]) -> None:
    lean, theirs = adapted(tmp_path, experts, adapter_tensors(sides, experts))
    prompt, canvas = torch.arange(60, 90)[None], torch.arange(100, 112)[None]
    signal = torch.randn(1, 12, 32, generator=torch.Generator().manual_seed(0))
    found, expected = (d.denoise(canvas, d.encode(prompt), signal) for d in (lean, theirs))
    assert (found - expected).abs().max() <= 1e-4
    without = loaded(tiny_model(340, experts=experts, sharpness=20.0))
    mixed = without.denoise(canvas, lean.encode(prompt), signal)
    plain = without.denoise(canvas, without.encode(prompt), signal)
    assert ((mixed - plain).abs().max() > 0.01) == (ENCODER in sides)


def parts(layer: LeanLayer) -> Iterator[tuple[str, object]]:
    feed_forward = vars(layer.feed_forward)
    inner = vars(feed_forward["experts"]) if "experts" in feed_forward else {}
    for name, part in (vars(layer) | feed_forward | inner).items():
        if name not in ("feed_forward", "experts", "normalizer") and (callable(part) or isinstance(part, Tensor)):
            yield name, part


def test_only_what_differs_is_kept_twice(tmp_path: Path) -> None:
    """The query projection of layer 0 and one of the experts' two matrices of layer 1."""
    tensors = halves(f"{ENCODER}layers.0.self_attn.q_proj", 32, 32)
    tensors |= halves(f"{ENCODER}layers.1.experts", 32, 16, rank=8)
    model = adapted(tmp_path, 4, tensors)[0].model
    own = [
        (index, name)
        for index, (layer, other) in enumerate(zip(model.layers, model.encoder_layers, strict=True))
        for (name, part), (_, its) in zip(parts(layer), parts(other), strict=True)
        if part is not its and name != "numbers"
    ]
    assert own == [(0, "queries_keys_values"), (1, "down")]


@pytest.mark.parametrize("experts", [1, 4])
def test_an_ordinary_checkpoint_is_in_memory_once(experts: int) -> None:
    model = loaded(tiny_model(64, experts=experts)).model
    for layer, other in zip(model.layers, model.encoder_layers, strict=True):
        for (name, part), (_, its) in zip(parts(layer), parts(other), strict=True):
            assert part is its or name == "numbers"


def test_with_eight_bit_weights_too(tmp_path: Path) -> None:
    weights = Weights(write_tiny_checkpoint(tmp_path / "tiny"))
    adapter = AdaptedWeights(weights, weights, write_adapter(tmp_path / "adapter", adapter_tensors((ENCODER,), 4)))
    exact, small = (loaded(tiny_model(340), adapter, precision=kept) for kept in ("bf16", "fp8"))
    prompt = torch.arange(60, 90)[None]
    (keys, _), (close, _) = (d.encode(prompt).rooms[1].first(30) for d in (exact, small))
    assert 0 < (close - keys).norm() / keys.norm() < 0.3
    assert small.device == CPU
