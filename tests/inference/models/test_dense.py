from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from inference.models.dense import DenseConfig, DenseDiffusionGemma

VOCABULARY, WINDOW = 300, 16
ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
}
VISION = {
    "model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16, "patch_size": 4, "position_embedding_size": 4,
}  # fmt: skip


def text_config(**changes: Any) -> dict[str, Any]:
    config = {
        "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "num_global_key_value_heads": 2, "head_dim": 16,
        "global_head_dim": 16, "num_experts": 1, "top_k_experts": 1, "moe_intermediate_size": 32,
        "sliding_window": WINDOW, "rope_parameters": ROPE,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    }  # fmt: skip
    return config | changes


def build(folder: Path, **changes: Any) -> tuple[Any, DenseDiffusionGemma]:
    """transformers' model with random weights, norms and layer scalars included, and ours from the same files."""
    torch.manual_seed(0)
    config = DiffusionGemmaConfig(text_config=text_config(**changes), vision_config=VISION, canvas_length=32)
    theirs = DiffusionGemmaForBlockDiffusion(config)
    with torch.no_grad():
        for _, parameter in theirs.named_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, buffer in theirs.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.copy_(0.5 + torch.rand(1))
    theirs.save_pretrained(folder)
    return DiffusionGemmaForBlockDiffusion.from_pretrained(folder).eval(), DenseDiffusionGemma.load(folder)


@pytest.fixture(
    scope="module",
    params=[{}, {"global_head_dim": 32, "num_global_key_value_heads": 1}],
    ids=["same heads", "wider full heads"],
)
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, DenseDiffusionGemma]:
    return build(tmp_path_factory.mktemp("checkpoint"), **request.param)


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize("prompt", [5, WINDOW - 1, WINDOW, WINDOW + 1, 50])
@torch.no_grad()
def test_equals_transformers(models: tuple[Any, DenseDiffusionGemma], prompt: int) -> None:
    theirs, ours = models
    generator = torch.Generator().manual_seed(prompt)
    ids = torch.randint(VOCABULARY, (2, prompt), generator=generator)
    canvas = torch.randint(VOCABULARY, (2, 12), generator=generator)

    expected = theirs(input_ids=ids, decoder_input_ids=canvas)
    hidden, kv = ours.encode_hidden(ids)
    assert difference(hidden, expected.encoder_last_hidden_state) <= 1e-4
    for index, layer in enumerate(expected.past_key_values.layers):
        kept = layer.keys.shape[2]
        assert difference(kv[index][0][:, :, -kept:], layer.keys) <= 1e-4
        assert difference(kv[index][1][:, :, -kept:], layer.values) <= 1e-4

    logits = ours.decode(canvas, kv)
    assert difference(logits, expected.logits) <= 1e-4
    again = theirs(
        decoder_input_ids=canvas,
        past_key_values=expected.past_key_values,
        self_conditioning_logits=expected.logits / 0.5,
    )
    assert difference(ours.decode(canvas, kv, expected.logits / 0.5), again.logits) <= 1e-4


@torch.no_grad()
def test_a_prompt_may_be_encoded_in_pieces(models: tuple[Any, DenseDiffusionGemma]) -> None:
    _, ours = models
    ids = torch.randint(VOCABULARY, (1, 40), generator=torch.Generator().manual_seed(1))
    whole = ours.encode(ids)
    first = ours.encode(ids[:, :25])
    pieces = ours.encode(ids[:, 25:], first)
    assert first[0][0].shape[2] == 25
    for (keys, values), (other_keys, other_values) in zip(whole, pieces, strict=True):
        assert difference(keys, other_keys) <= 1e-4
        assert difference(values, other_values) <= 1e-4


def test_training_attention_equals_inference_attention(models: tuple[Any, DenseDiffusionGemma]) -> None:
    _, ours = models
    ids = torch.randint(VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(2))
    trained, _ = ours.encode_hidden(ids)
    with torch.no_grad():
        inferred, _ = ours.encode_hidden(ids)
    assert trained.requires_grad
    assert difference(trained, inferred) <= 1e-4


def test_checkpoint_names_are_those_of_transformers(models: tuple[Any, DenseDiffusionGemma]) -> None:
    theirs, ours = models
    names = {name for name in theirs.state_dict() if "vision" not in name}
    assert set(ours.checkpoint()) <= names
    copy = DenseDiffusionGemma(ours.config)
    copy.load_checkpoint(ours.checkpoint())
    assert all(torch.equal(a, b) for a, b in zip(copy.state_dict().values(), ours.state_dict().values(), strict=True))


def test_more_than_one_expert_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly one expert"):
        DenseConfig.from_text_config(text_config(num_experts=4))
