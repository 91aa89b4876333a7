"""Eight-bit weights: how far the numbers move, and how much smaller they are."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from inference.models.fp8 import FP8, Fp8Linear, quantized, rounded
from inference.models.grouped import Fp8Grouped, PlainGrouped
from inference.models.lean_denoiser import LeanDenoiser
from tests.inference.models.test_lean_denoiser import CANVAS, CPU, loaded
from tests.support.tiny_checkpoint import tiny_model

ROOT = Path(__file__).parents[3]
EMBEDDED = ROOT / "inference/default_model"


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("shape", [(704, 2816), (2112, 96), (3, 5)])
def test_every_number_is_within_its_three_bits(shape: tuple[int, int], scale: float) -> None:
    weight = random(*shape) * scale
    small, scales = quantized(weight)
    assert (small.dtype, scales.shape) == (FP8, (shape[0], 1))
    back = small.float() * scales
    error = (back - weight).abs()
    largest = weight.abs().amax(-1, keepdim=True)
    assert (error <= weight.abs() / 16 + largest / 448 / 512 * 1.01).all()  # normal numbers, and those too small
    assert relative(back, weight) < 0.03


def test_a_row_of_zeros_stays_one() -> None:
    weight = random(4, 32)
    weight[2] = 0
    small, scales = quantized(weight)
    assert (small[2].float() * scales[2] == 0).all()


def test_the_largest_bounded_input_is_a_number() -> None:
    """All of a normalised vector's length in one of 2816 places."""
    x = torch.zeros(2, 2816)
    x[:, 5] = 2816**0.5
    small, scales = rounded(x, bounded=True)
    assert torch.allclose(small.float() * scales, x, rtol=1 / 16)


@pytest.mark.parametrize("bounded", [False, True])
def test_with_kernels_and_without_it_is_the_same_product(bounded: bool) -> None:
    """The CPU has the kernel too, slowly: it rounds the inputs as well."""
    weight, x = random(48, 64), random(10, 64, seed=1)
    expected = x @ weight.T
    product = Fp8Linear(weight, bounded=bounded)
    assert not product.has_kernels
    assert relative(product(x), expected) < 0.03
    product.has_kernels = True
    found = product(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert relative(found, expected) < 0.05


def test_the_grouped_product_equals_the_plain_one_and_has_the_layout_that_cuda_asks_for() -> None:
    weight, x = random(4, 48, 64), random(10, 64, seed=1)
    ends = torch.tensor([3, 3, 9, 10], dtype=torch.int32)
    product = Fp8Grouped(weight.clone())
    assert relative(product(x, ends), PlainGrouped(weight)(x, ends)) < 0.03
    described = Fp8Grouped(weight.to("meta"), bounded=True)
    described.has_kernels = True
    out = described(torch.empty(10, 64, dtype=torch.bfloat16, device="meta"), torch.empty_like(ends, device="meta"))
    assert (out.shape, out.dtype) == ((10, 48), torch.bfloat16)


def test_memory_halves() -> None:
    linear, grouped = Fp8Linear(random(704, 2816).bfloat16()), Fp8Grouped(random(4, 704, 2816).bfloat16())
    assert linear.nbytes <= 0.501 * 2 * 704 * 2816
    assert grouped.nbytes <= 0.501 * 2 * 4 * 704 * 2816


@torch.inference_mode()
def test_a_layer_of_many_experts_stays_near() -> None:
    """The router keeps its numbers, so the same experts are chosen; a random model's logits would drift with them."""
    model = tiny_model(64, experts=8)
    exact, small = loaded(model), loaded(model, precision="fp8")
    normal = exact.model.normalizer(random(40, 32))
    for one, other in zip(exact.model.layers, small.model.layers, strict=True):
        assert 0.001 < relative(other.feed_forward(normal), one.feed_forward(normal)) < 0.06
    assert torch.equal(small.embeddings(CANVAS % 64), exact.embeddings(CANVAS % 64))


@pytest.mark.parametrize(
    ("precision", "near", "divergence", "agreeing"), [("bf16", 0.015, 0.002, 0.95), ("fp8", 0.04, 0.01, 0.85)]
)
@torch.inference_mode()
def test_logits_of_a_trained_model_stay_near(precision: str, near: float, divergence: float, agreeing: float) -> None:
    """The embedded model on a canvas half of noise: distance, Kullback-Leibler divergence in nats, same favourites."""
    config = json.loads((EMBEDDED / "config.json").read_text())
    weights = load_file(EMBEDDED / "model.safetensors")
    exact, coarse = (
        LeanDenoiser.load(config, weights, CPU, torch.bfloat16, lambda *_: None, kept) for kept in ("fp32", precision)
    )
    tokenizer = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode((ROOT / "inference/models/base.py").read_text()).ids[:464]])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(60, 8192, (1, 64), generator=generator)
    canvas = torch.where(torch.rand(1, 64, generator=generator) < 0.5, noise, ids[:, 400:])
    expected, found = (
        denoiser.denoise(canvas, denoiser.encode(ids[:, :400]), torch.zeros_like(denoiser.embeddings(canvas)))
        for denoiser in (exact, coarse)
    )
    log_p, log_q = expected.log_softmax(-1), found.log_softmax(-1)
    assert 0 < relative(found, expected) < near
    assert (log_p.exp() * (log_p - log_q)).sum(-1).mean() < divergence
    assert (found.argmax(-1) == expected.argmax(-1)).float().mean() >= agreeing
