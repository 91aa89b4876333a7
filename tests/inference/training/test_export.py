import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DiffusionGemmaForBlockDiffusion

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.architecture import dense_config
from inference.training.checkpointing import save_run
from inference.training.denoise import Sampling
from inference.training.export import DEFAULT_FOLDER, export, read_sampling, with_settings
from inference.training.optimizer import Optimizer
from inference.training.tokenizer import CANVAS_BUCKETS, LANGUAGES
from inference.training.train import initialize


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the real shape with random weights, made the way the real one is."""
    run, folder = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("out")
    spec = InfillSpec.load(DEFAULT_FOLDER)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (run / name).write_bytes((DEFAULT_FOLDER / name).read_bytes())
    model = DenseDiffusionGemma(dense_config(spec.noise_high))
    initialize(model, 0)
    save_run(run, Optimizer(model), {"step": 0, "pool": 0, "batch": 0})
    export(run, folder, with_settings(spec, 128, 0.25), Sampling(max_denoising_steps=5))
    return folder


@pytest.fixture(scope="module", params=["fresh", "embedded"])
def folder(request: pytest.FixtureRequest, exported: Path) -> Path:
    return exported if request.param == "fresh" else DEFAULT_FOLDER


def test_transformers_loads_it_without_a_gap_and_agrees(folder: Path) -> None:
    theirs, report = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    ours = DenseDiffusionGemma.load(folder)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(56, 8192, (1, 600), generator=generator)  # longer than the sliding window
    canvas = torch.randint(56, 8192, (1, 16), generator=generator)
    with torch.no_grad():
        expected = theirs.float()(input_ids=ids, decoder_input_ids=canvas).logits
        found = ours.decode(canvas, ours.encode(ids))
    assert float((found - expected).abs().max()) <= 1e-3


def test_generation_settings_are_what_transformers_expects(folder: Path) -> None:
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig

    settings: Any = DiffusionGemmaGenerationConfig.from_pretrained(folder)
    sampling, spec = read_sampling(folder), InfillSpec.load(folder)
    assert settings.sampler_config.entropy_bound == sampling.entropy_bound
    assert settings.max_denoising_steps == sampling.max_denoising_steps
    assert spec.gap_end in settings.eos_token_id


def test_settings_are_carried_over(exported: Path) -> None:
    spec = InfillSpec.load(exported)
    assert (spec.max_prompt_tokens, spec.confidence_floor) == (128, 0.25)
    assert read_sampling(exported).max_denoising_steps == 5


def test_the_embedded_checkpoint_is_small_and_complete() -> None:
    assert (DEFAULT_FOLDER / "model.safetensors").stat().st_size < 20_000_000
    assert (DEFAULT_FOLDER / "MODEL_CARD.md").exists()
    spec = InfillSpec.load(DEFAULT_FOLDER)
    assert set(spec.languages) == set(LANGUAGES)
    assert spec.canvas_buckets == CANVAS_BUCKETS
    config = json.loads((DEFAULT_FOLDER / "config.json").read_text())["text_config"]
    assert spec.noise_high == config["vocab_size"]
