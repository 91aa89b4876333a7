"""The lean denoiser equals transformers' model and the plain dense one, and says what it cannot load."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from inference.errors import EngineError
from inference.models.base import Denoiser
from inference.models.dense import DenseConfig, DenseDiffusionGemma
from inference.models.lean_denoiser import LeanDenoiser
from inference.models.linear import Precision, gated, gated_linear
from tests.inference.models.test_dense import VISION, VOCABULARY, WINDOW, text_config

CPU, TOLERANCE = torch.device("cpu"), 1e-4
LIKE_THE_LARGE_ONE = {
    "num_hidden_layers": 6, "layer_types": None, "num_attention_heads": 8, "num_key_value_heads": 4,
    "num_global_key_value_heads": 2, "global_head_dim": 32,
}  # fmt: skip
PROMPT = torch.randint(VOCABULARY, (1, WINDOW + 9), generator=torch.Generator().manual_seed(0))
CANVAS = torch.randint(VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(1))


class Weights(Mapping[str, torch.Tensor]):
    """A mapping that remembers what it was asked for."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors, self.asked = dict(tensors), list[str]()

    def __getitem__(self, name: str) -> torch.Tensor:
        self.asked.append(name)
        return self.tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def transformers_model(**changes: Any) -> DiffusionGemmaForBlockDiffusion:
    """Random weights, norms, scales and layer scalars included."""
    torch.manual_seed(0)
    config = DiffusionGemmaConfig(text_config=text_config(**changes), vision_config=VISION, canvas_length=32)
    model = DiffusionGemmaForBlockDiffusion(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.copy_(0.5 + torch.rand(1))
    return model.eval()


def saved(model: DiffusionGemmaForBlockDiffusion) -> dict[str, torch.Tensor]:
    """The tensors as a checkpoint has them: those that are tied only once."""
    tied = "model.encoder.language_model."
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("lm_head") and (not name.startswith(tied) or name.endswith("layer_scalar"))
    }


def loaded(
    model: DiffusionGemmaForBlockDiffusion, weights: Mapping[str, torch.Tensor] | None = None, **how: Any
) -> LeanDenoiser:
    described = {"text_config": model.config.text_config.to_dict()}
    options = {"device": CPU, "dtype": torch.float32, "report": lambda *_: None} | how
    return LeanDenoiser.load(described, saved(model) if weights is None else weights, **options)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max())


@pytest.mark.parametrize(
    ("experts", "chosen"), [(1, 1), (4, 1), (4, 2), (4, 3), (8, 1), (8, 2), (8, 3)], ids=lambda number: str(number)
)
@pytest.mark.parametrize("shape", [{}, LIKE_THE_LARGE_ONE], ids=["small", "like the large one"])
@torch.inference_mode()
def test_it_equals_transformers(shape: dict[str, Any], experts: int, chosen: int) -> None:
    model = transformers_model(**shape, num_experts=experts, top_k_experts=chosen)
    denoiser: Denoiser = loaded(model)
    logits = 3 * torch.randn(3, 12, VOCABULARY, generator=torch.Generator().manual_seed(2))
    expected = model(
        input_ids=PROMPT.expand(3, -1), decoder_input_ids=CANVAS, self_conditioning_logits=logits
    ).logits.flatten(0, 1)
    signal = denoiser.soft_embeddings(logits.flatten(0, 1).softmax(-1)).view(3, 12, -1)
    found = denoiser.denoise(CANVAS, denoiser.encode(PROMPT), signal)
    assert error(found, expected) <= TOLERANCE
    assert expected.std() > 0.5


@torch.inference_mode()
def test_it_equals_the_plain_dense_model() -> None:
    model = transformers_model()
    plain = DenseDiffusionGemma(DenseConfig.from_text_config(model.config.text_config.to_dict()))
    plain.load_checkpoint(saved(model))
    logits = 3 * torch.randn(3, 12, VOCABULARY, generator=torch.Generator().manual_seed(2))
    kv = [(keys.expand(3, -1, -1, -1), values.expand(3, -1, -1, -1)) for keys, values in plain.encode(PROMPT)]
    denoiser = loaded(model)
    signal = denoiser.soft_embeddings(logits.flatten(0, 1).softmax(-1)).view(3, 12, -1)
    found = denoiser.denoise(CANVAS, denoiser.encode(PROMPT), signal)
    assert error(found, plain.decode(CANVAS, kv, logits).flatten(0, 1)) <= TOLERANCE


@torch.inference_mode()
def test_bfloat16_stays_near() -> None:
    """As near to float32 as the plain model in bfloat16 is, give or take a half."""
    model = transformers_model()
    exact, coarse = loaded(model), loaded(model, precision=Precision.BF16)
    plain = DenseDiffusionGemma(DenseConfig.from_text_config(model.config.text_config.to_dict()))
    plain.load_checkpoint(saved(model))
    zero = torch.zeros(3, 12, 64)
    expected = exact.denoise(CANVAS, exact.encode(PROMPT), zero)
    found = coarse.denoise(CANVAS, coarse.encode(PROMPT), zero.bfloat16())
    plain.bfloat16()
    kv = [(keys.expand(3, -1, -1, -1), values.expand(3, -1, -1, -1)) for keys, values in plain.encode(PROMPT)]
    theirs = plain.decode(CANVAS, kv).flatten(0, 1)
    assert 0 < (found - expected).norm() <= 1.5 * (theirs - expected).norm()


def test_every_tensor_is_asked_for_once_and_none_that_is_not_needed() -> None:
    model, heard = transformers_model(num_experts=4), list[tuple[float, str]]()
    weights = Weights(saved(model))
    loaded(model, weights, report=lambda share, what: heard.append((share, what)))
    assert sorted(weights.asked) == sorted(name for name in weights if "vision" not in name)
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert all(what for _, what in heard)


@torch.inference_mode()
def test_weights_under_the_encoders_names() -> None:
    model = transformers_model(num_experts=4)
    own = ("self_conditioning", "layer_scalar")
    theirs = {
        name if any(part in name for part in own) else name.replace("decoder", "encoder.language_model"): tensor
        for name, tensor in saved(model).items()
    }
    zero = torch.zeros(3, 12, 64)
    found, expected = (
        denoiser.denoise(CANVAS, denoiser.encode(PROMPT), zero) for denoiser in (loaded(model, theirs), loaded(model))
    )
    assert torch.equal(found, expected)


def test_loading_changes_nothing_in_the_weights() -> None:
    model = transformers_model(num_experts=4)
    weights = saved(model)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    loaded(model, weights)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights.items())


@pytest.mark.parametrize("shape", [None, (3, 3)])
@pytest.mark.parametrize("name", ["layers.0.router.proj.weight", "embed_tokens.weight", "layers.3.layer_scalar"])
def test_a_missing_tensor_is_named(name: str, shape: tuple[int, int] | None) -> None:
    model = transformers_model(num_experts=4)
    weights = saved(model)
    del weights["model.decoder." + name]
    weights.pop("model.encoder.language_model." + name, None)
    if shape:
        weights["model.decoder." + name] = torch.zeros(shape)
    with pytest.raises(EngineError, match=rf"lack model\.decoder\.{name} in the shape") as caught:
        loaded(model, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_activation": "silu"}, "its hidden_activation is 'silu'"),
        ({"attention_bias": True}, "its attention_bias is True"),
        ({"use_bidirectional_attention": "all"}, "its encoder is bidirectional"),
        ({"sliding_window": None}, None),
    ],
)
def test_another_architecture_is_refused(changes: dict[str, Any], reason: str | None) -> None:
    text = text_config(rms_norm_eps=1e-6) | changes
    if reason is None:
        del text["sliding_window"]
    with pytest.raises(EngineError, match=reason or "config.json lacks 'sliding_window'"):
        LeanDenoiser.load({"text_config": text}, {}, CPU, torch.float32, lambda *_: None)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(EngineError, match="no precision int8; take one of auto, bf16, fp32, fp8"):
        loaded(transformers_model(), precision="int8")


@torch.inference_mode()
def test_a_third_set_of_prompts_drives_the_first_out_and_it_comes_back() -> None:
    denoiser = loaded(transformers_model())
    prompts = [denoiser.encode(PROMPT[:, :length]) for length in (5, 20, 25)]
    zero = torch.zeros(3, 12, 64)
    before = [denoiser.denoise(CANVAS, prompt, zero) for prompt in prompts]
    assert error(before[0], before[1]) > 0.1
    for prompt, expected in zip(prompts, before, strict=True):
        assert torch.equal(denoiser.denoise(CANVAS, prompt, zero), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_and_gated_is_the_plain_product_gated(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, gates, ups = (torch.randn(shape, generator=generator) for shape in ((9, 48), (24, 48), (24, 48)))
    expected = gated(torch.cat((x @ gates.T, x @ ups.T), dim=-1))
    found = gated_linear(gates.to(dtype), ups.to(dtype))(x.to(dtype))
    assert (found.shape, found.dtype) == ((9, 24), dtype)
    assert (found - expected).norm() / expected.norm() < (1e-6 if dtype == torch.float32 else 0.01)
