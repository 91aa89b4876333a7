"""A complete checkpoint folder with random weights, small enough to run a denoising step in milliseconds."""

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

from inference.training.tokenizer import infill_spec, save_tokenizer, train_tokenizer

TEXTS = ("def add(a, b):\n    return a + b\n", "for item in items:\n    print(item)\n", "# Überschrift: 你好 🙂\n")
SLIDING_WINDOW = 8


def tiny_config(vocab_size: int, *, experts: int = 4, canvas_length: int = 16) -> DiffusionGemmaConfig:
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
        max_position_embeddings=512,
        num_experts=experts,
        top_k_experts=min(2, experts),
        moe_intermediate_size=16,
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


def write_tiny_checkpoint(folder: Path, *, experts: int = 4, sharpness: float = 50.0, seed: int = 0) -> Path:
    """Write config, weights, tokenizer, generation settings and infill.json into ``folder`` and return it."""
    tokenizer = train_tokenizer(TEXTS, vocabulary=340)
    save_tokenizer(tokenizer, folder)
    infill_spec(tokenizer, max_prompt_tokens=96, confidence_floor=0.0).save(folder)
    model = tiny_model(tokenizer.get_vocab_size(), experts=experts, sharpness=sharpness, seed=seed)
    model.save_pretrained(folder)
    DiffusionGemmaGenerationConfig(
        max_denoising_steps=8,
        sampler_config=EntropyBoundSamplerConfig(entropy_bound=0.1),
        t_min=0.4,
        t_max=0.8,
        stability_threshold=1,
        confidence_threshold=0.005,
    ).save_pretrained(folder)
    return folder
