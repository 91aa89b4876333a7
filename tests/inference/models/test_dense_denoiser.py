"""Both denoisers over one checkpoint say the same, and the dense one refuses what it cannot run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.errors import EngineError
from inference.models.base import Denoiser
from inference.models.dense_denoiser import DenseDenoiser
from inference.models.diffusion_gemma import load_diffusion_gemma
from tests.support.tiny_checkpoint import write_tiny_checkpoint

CPU = torch.device("cpu")
PROMPT = torch.randint(56, 340, (1, 20), generator=torch.Generator().manual_seed(0))
CANVAS = torch.randint(56, 340, (3, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "tiny", experts=1)


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def test_it_says_what_transformers_says(folder: Path) -> None:
    assert DenseDenoiser.can_run(folder, config_of(folder))
    dense: Denoiser = DenseDenoiser.load(folder, CPU, torch.float32)
    reference = load_diffusion_gemma(folder, CPU, torch.float32)
    assert (dense.vocab_size, dense.device) == (reference.vocab_size, reference.device)
    prompts = dense.encode(PROMPT), reference.encode(PROMPT)
    first = dense.denoise(CANVAS, prompts[0], None), reference.denoise(CANVAS, prompts[1], None)
    assert torch.allclose(*first, atol=1e-3)
    assert first[0].abs().max() > 1  # else all would be close to all
    second = dense.denoise(CANVAS, prompts[0], first[1]), reference.denoise(CANVAS, prompts[1], first[1])
    assert torch.allclose(*second, atol=1e-3)
    assert not torch.allclose(first[0], second[0], atol=5e-3)


def test_denoising_leaves_the_prompt_as_it_was(folder: Path) -> None:
    dense = DenseDenoiser.load(folder, CPU, torch.float32)
    prompt = dense.encode(PROMPT)
    first = dense.denoise(CANVAS, prompt, None)
    assert torch.equal(first, dense.denoise(CANVAS, prompt, None))


def test_what_it_cannot_run(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder)
    assert not DenseDenoiser.can_run(folder, config | {"text_config": config["text_config"] | {"num_experts": 4}})
    assert not DenseDenoiser.can_run(folder, {})
    assert not DenseDenoiser.can_run(tmp_path, config)


@pytest.mark.parametrize("shape", [None, (3, 3)])
def test_missing_weights_are_named(folder: Path, shape: tuple[int, int] | None) -> None:
    tensors = load_file(folder / "model.safetensors")
    router = tensors.pop("model.decoder.layers.0.router.proj.weight")
    if shape:
        tensors["model.decoder.layers.0.router.proj.weight"] = router.new_zeros(shape)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(EngineError, match=r"lack .*layers\.0\.router\.proj\.weight.* in the shape") as caught:
        DenseDenoiser.load(folder, CPU, torch.float32)
    assert "\n" not in str(caught.value)
