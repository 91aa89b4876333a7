"""The checkpoint that is shipped: real, small, loadable by stock transformers, better than noise at its one task."""

import json
from pathlib import Path

import pytest
import torch

from inference.checkpoint import EMBEDDED, Checkpoint, load_checkpoint
from inference.engines.local import LocalEngine
from inference.formats.fim import FimFormat
from inference.formats.infill_spec import InfillSpec
from inference.protocol import Fixed, InfillRequest, Masked

SAMPLES = Path(__file__).parent.parent / "data/samples"
LANGUAGES = {".py": "python", ".js": "javascript", ".ts": "typescript", ".md": "markdown"}
MAX_BYTES = 32_000_000


def samples() -> list[tuple[str, str, str, str]]:
    """Language id, prefix, what a person would write, suffix."""
    found = []
    for entry in json.loads((SAMPLES / "samples.json").read_text()):
        text = (SAMPLES / entry["file"]).read_text()
        line, column = map(int, entry["at"].split(":"))
        offset = sum(len(row) + 1 for row in text.split("\n")[: line - 1]) + column - 1
        language = LANGUAGES[Path(entry["file"]).suffix]
        found.append((language, text[:offset], entry["person_would_write"], text[offset:]))
    return found


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(EMBEDDED, lambda progress, message: None)


def request_for(language: str, prefix: str, suffix: str) -> InfillRequest:
    return InfillRequest(segments=(Fixed(prefix), Masked(24), Fixed(suffix)), language_id=language, seed=1)


def mean_log_prob_of_truth(checkpoint: Checkpoint, prompt: InfillRequest, truth: str) -> float:
    """Of the truth's tokens, when the canvas holds it with every other token replaced by noise."""
    fim = checkpoint.format
    assert isinstance(fim, FimFormat)
    prompt_ids = torch.tensor([fim.prepare(prompt).prompt_ids])
    gap_ids = fim.tokenizer.encode(truth, add_special_tokens=False).ids
    clean = torch.tensor([fim.spec.canvas(gap_ids, 32)])
    noise = torch.randint(*fim.noise_range, clean.shape, generator=torch.Generator().manual_seed(0))
    corrupted = (torch.arange(32) % 2 == 0) & (torch.arange(32) < len(gap_ids))
    canvas = torch.where(corrupted, noise, clean)
    denoiser = checkpoint.denoiser
    nothing_yet = torch.zeros_like(denoiser.embeddings(canvas))
    logits = denoiser.denoise(canvas, denoiser.encode(prompt_ids), nothing_yet)
    log_probs = logits.log_softmax(-1).gather(-1, clean[0, :, None])[:, 0]
    return float(log_probs[corrupted].mean())


def test_it_knows_more_than_noise_and_reads_its_prompt(checkpoint: Checkpoint) -> None:
    entries = samples()
    own = [mean_log_prob_of_truth(checkpoint, request_for(lang, pre, suf), gap) for lang, pre, gap, suf in entries]
    others = [
        mean_log_prob_of_truth(checkpoint, request_for(lang, pre, suf), gap)
        for (lang, pre, _, suf), (_, _, gap, _) in zip(entries, entries[1:] + entries[:1], strict=True)
    ]
    low, high = checkpoint.format.noise_range
    uniform = -float(torch.tensor(high - low).log())
    assert sum(own) / len(own) > uniform / 2
    assert sum(own) > sum(others)


def test_it_fills_every_sample_with_text_and_says_how_sure_it_is() -> None:
    engine = LocalEngine(EMBEDDED)
    engine.load(lambda progress, message: None)
    for language, prefix, _, suffix in samples():
        request = request_for(language, prefix, suffix)
        first, again = engine.infill(request), engine.infill(request)
        assert first.choices == again.choices  # one seed, one answer
        assert 0 < first.choices[0].confidence <= 1
        assert "�" not in first.choices[0].fills[0].text


def test_stock_transformers_loads_it_whole() -> None:
    from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion

    _, loading = DiffusionGemmaForBlockDiffusion.from_pretrained(EMBEDDED, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert not loading["mismatched_keys"]


def test_it_is_small_safe_and_documented() -> None:
    files = {path.name for path in EMBEDDED.iterdir()}
    assert files == {
        "MODEL_CARD.md",
        "config.json",
        "generation_config.json",
        "infill.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir()) < MAX_BYTES
    card = (EMBEDDED / "MODEL_CARD.md").read_text()
    for heading in (
        "Apache-2.0",
        "## How good it is",
        "## In the editor",
        "## The model by itself",
        "## Intended use and limits",
        "## Training data",
        "## Recipe",
    ):
        assert heading in card
    assert InfillSpec.load(EMBEDDED).confidence_floor > 0
