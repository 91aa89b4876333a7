"""The shape of the embedded checkpoint as a transformers `config.json`."""

from typing import Any

from inference.models.dense import DenseConfig

LAYERS = 6
HIDDEN, HEADS, KEY_VALUE_HEADS, HEAD = 256, 4, 2, 64
DENSE, EXPERT = 640, 128  # widths of the MLP and of the only expert beside it
FULL_EVERY = 3  # each third layer, the last one included, attends without window
WINDOW = 512  # tokens; no training prompt with its canvas is longer in a sliding layer


def text_config(vocabulary: int) -> dict[str, Any]:
    """`text_config` of a `DiffusionGemmaConfig`."""
    return {
        "model_type": "diffusion_gemma_text",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": DENSE,
        "moe_intermediate_size": EXPERT,
        "num_experts": 1,
        "top_k_experts": 1,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "num_global_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HEAD,
        "global_head_dim": HEAD,
        "layer_types": [
            "sliding_attention" if (index + 1) % FULL_EVERY else "full_attention" for index in range(LAYERS)
        ],
        "sliding_window": WINDOW,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
        },
        "final_logit_softcapping": 30.0,
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131_072,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }


def dense_config(vocabulary: int) -> DenseConfig:
    """The same shape for our own model."""
    return DenseConfig.from_text_config(text_config(vocabulary))
