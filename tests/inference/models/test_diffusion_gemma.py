"""The denoiser over transformers: one prompt for all rows, and a cache that stays as it was."""

import pytest
import torch

from inference.models.base import Denoiser
from inference.models.diffusion_gemma import DiffusionGemmaDenoiser
from tests.support.tiny_checkpoint import SLIDING_WINDOW, tiny_model

PROMPT = torch.randint(0, 64, (1, 2 * SLIDING_WINDOW), generator=torch.Generator().manual_seed(0))
CANVAS = torch.randint(0, 64, (3, 12), generator=torch.Generator().manual_seed(1))
ZERO = torch.zeros(3, 12, 32)


@pytest.fixture(scope="module")
def denoiser() -> DiffusionGemmaDenoiser:
    return DiffusionGemmaDenoiser(tiny_model(64, sharpness=20))


def test_it_is_a_denoiser(denoiser: DiffusionGemmaDenoiser) -> None:
    described: Denoiser = denoiser
    assert (described.vocab_size, described.device) == (64, torch.device("cpu"))


def test_logits_are_soft_capped_float32(denoiser: DiffusionGemmaDenoiser) -> None:
    logits = denoiser.denoise(CANVAS, denoiser.encode(PROMPT), ZERO)
    assert (logits.shape, logits.dtype) == ((36, 64), torch.float32)
    assert logits.abs().max() <= 30.0


def test_one_encoded_prompt_serves_every_row(denoiser: DiffusionGemmaDenoiser) -> None:
    conditioning = torch.randn(3, 12, 32, generator=torch.Generator().manual_seed(2))
    together = denoiser.denoise(CANVAS, denoiser.encode(PROMPT), conditioning)
    repeated = denoiser.denoise(CANVAS, denoiser.encode(PROMPT.expand(3, -1)), conditioning)
    assert torch.allclose(together, repeated, atol=1e-4)
    for index in range(3):
        alone = denoiser.denoise(CANVAS[index : index + 1], denoiser.encode(PROMPT), conditioning[index : index + 1])
        assert torch.allclose(together.view(3, 12, -1)[index], alone, atol=1e-4)


def test_denoising_leaves_the_prompt_as_it_was(denoiser: DiffusionGemmaDenoiser) -> None:
    prompt = denoiser.encode(PROMPT)
    before = [(layer.keys.clone(), layer.values.clone(), layer.get_seq_length()) for layer in prompt.layers]
    first = denoiser.denoise(CANVAS, prompt, ZERO)
    assert torch.equal(first, denoiser.denoise(CANVAS, prompt, ZERO))
    for layer, (keys, values, length) in zip(prompt.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)
        assert layer.get_seq_length() == length == PROMPT.shape[1]


def test_prompt_and_self_conditioning_matter(denoiser: DiffusionGemmaDenoiser) -> None:
    prompt = denoiser.encode(PROMPT)
    plain = denoiser.denoise(CANVAS, prompt, ZERO)
    assert not torch.allclose(
        plain,
        denoiser.denoise(CANVAS, prompt, denoiser.soft_embeddings((5 * plain).softmax(-1)).view(3, 12, -1)),
        atol=1e-3,
    )
    assert not torch.allclose(plain, denoiser.denoise(CANVAS, denoiser.encode(PROMPT.flip(1)), ZERO), atol=1e-3)


def test_the_whole_canvas_sees_itself(denoiser: DiffusionGemmaDenoiser) -> None:
    """Bidirectional: the last token reaches the first, and the other way round."""
    prompt = denoiser.encode(PROMPT)
    plain = denoiser.denoise(CANVAS, prompt, ZERO).view(3, 12, -1)
    for changed, seen in ((-1, 0), (0, -1)):
        other = CANVAS.clone()
        other[:, changed] = (other[:, changed] + 1) % 64
        assert not torch.allclose(
            plain[:, seen], denoiser.denoise(other, prompt, ZERO).view(3, 12, -1)[:, seen], atol=1e-4
        )
