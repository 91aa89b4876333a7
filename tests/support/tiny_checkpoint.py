"""A complete checkpoint folder with random weights, small enough to run a denoising step in milliseconds."""

import hashlib
import os
from pathlib import Path

import torch
from transformers.models.diffusion_gemma.configuration_diffusion_gemma import (
    DiffusionGemmaConfig,
    DiffusionGemmaTextConfig,
)
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    DiffusionGemmaGenerationConfig,
    EntropyBoundSamplerConfig,
)
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaForBlockDiffusion
from transformers.models.gemma4.configuration_gemma4 import Gemma4VisionConfig

from inference.formats.gap_length import LengthConfidence
from inference.training.tokenizer import infill_spec, save_tokenizer, train_tokenizer
from tests.support.chat_checkpoint import CONTROLS, write_chat_tokenizer

TEXTS = ("def add(a, b):\n    return a + b\n", "for item in items:\n    print(item)\n", "# Überschrift: 你好 🙂\n")
SLIDING_WINDOW = 8


def tiny_config(
    vocab_size: int,
    *,
    experts: int = 4,
    canvas_length: int = 16,
    moe_intermediate_size: int = 16,
    max_positions: int = 512,
) -> DiffusionGemmaConfig:
    """Three layers, sliding and full, with a window that a short prompt outgrows."""
    text = DiffusionGemmaTextConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        num_attention_heads=2,
        num_key_value_heads=2,
        num_global_key_value_heads=1,
        head_dim=16,
        global_head_dim=32,
        sliding_window=SLIDING_WINDOW,
        max_position_embeddings=max_positions,
        num_experts=experts,
        top_k_experts=min(2, experts),
        moe_intermediate_size=moe_intermediate_size,
        use_bidirectional_attention="vision",
    )
    vision = Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
        position_embedding_size=16,
    )
    # ids of image tokens beyond the vocabulary: no text can spell them
    return DiffusionGemmaConfig(
        text_config=text,
        vision_config=vision,
        canvas_length=canvas_length,
        boi_token_id=vocab_size,
        eoi_token_id=vocab_size + 1,
        image_token_id=vocab_size + 2,
    )


def tiny_model(
    vocab_size: int = 64, *, experts: int = 4, canvas_length: int = 16, sharpness: float = 1.0, seed: int = 0
) -> DiffusionGemmaForBlockDiffusion:
    """A random model; ``sharpness`` scales the tied embedding, and with it how certain the predictions are."""
    torch.manual_seed(seed)
    model = DiffusionGemmaForBlockDiffusion(tiny_config(vocab_size, experts=experts, canvas_length=canvas_length))
    with torch.no_grad():
        model.lm_head.weight.mul_(sharpness)
    return model.eval()


def write_tiny_checkpoint(
    folder: Path, *, experts: int = 4, sharpness: float = 50.0, seed: int = 0, shard_bytes: int | None = None
) -> Path:
    """Write config, weights, tokenizer, generation settings and infill.json into ``folder`` and return it.

    A tiny vision tower is among the weights. ``experts`` above one makes a mixture of which two are active;
    ``shard_bytes`` cuts the weights into files of about that size, with an index.
    """
    tokenizer = train_tokenizer(TEXTS, vocabulary=340)
    save_tokenizer(tokenizer, folder)
    infill_spec(tokenizer, max_prompt_tokens=96, confidence_floor=0.0).save(folder)
    model = tiny_model(tokenizer.get_vocab_size(), experts=experts, sharpness=sharpness, seed=seed)
    model.save_pretrained(folder, **({"max_shard_size": shard_bytes} if shard_bytes else {}))
    _save_generation_settings(folder)
    return folder


def write_tiny_chat_checkpoint(folder: Path, *, canvas_length: int = 32) -> Path:
    """As :func:`write_tiny_checkpoint`, of the stock model's kind: a chat template and no infill.json.

    It never writes a control token, and takes the longest of the gap lengths that are tried.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = write_chat_tokenizer(folder).get_vocab_size()
    torch.manual_seed(0)
    model = DiffusionGemmaForBlockDiffusion(tiny_config(vocab_size, canvas_length=canvas_length, max_positions=2048))
    with torch.no_grad():
        model.lm_head.weight.mul_(50.0)
        model.lm_head.weight[: len(CONTROLS)] = 0.0  # the tied embedding: a logit of 0, when others are far above
    model.eval().save_pretrained(folder)
    LengthConfidence(slope=0.1, slope_log=0.0, bias=9.0, bias_log=-3.0, bias_log2=0.0).save(folder)
    _save_generation_settings(folder)
    return folder


def _save_generation_settings(folder: Path) -> None:
    DiffusionGemmaGenerationConfig(
        max_denoising_steps=8,
        sampler_config=EntropyBoundSamplerConfig(entropy_bound=0.1),
        t_min=0.4,
        t_max=0.8,
        stability_threshold=1,
        confidence_threshold=0.005,
    ).save_pretrained(folder)


def put_into_hub_cache(folder: Path, cache: Path, repo: str, *, commit: str = "0" * 40, branch: str = "main") -> Path:
    """Copy a checkpoint into a hub cache, blobs and links as huggingface_hub lays them out; return the snapshot."""
    root = cache / ("models--" + repo.replace("/", "--"))
    snapshot, blobs, ref = root / "snapshots" / commit, root / "blobs", root / "refs" / branch
    for made in (snapshot, blobs, ref.parent):
        made.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit)
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        blob = blobs / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot
