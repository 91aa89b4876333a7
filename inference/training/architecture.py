"""The shapes that the recipe can train, as a transformers `config.json`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.models.dense import DenseConfig

FULL_EVERY = 3  # each third layer, the last one included, attends without window
FILE_NAME = "shape.json"


@dataclass(frozen=True)
class Shape:
    """Sizes of one model; `dense` and `expert` are the widths of the MLP and of the only expert beside it.

    `window`: every training prompt is shorter, so a sliding layer sees all of it in training.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head: int
    dense: int
    expert: int
    window: int
    max_prompt_tokens: int


SMALL = Shape("small", 6, 256, 4, 2, 64, 640, 128, 512, 448)
SHAPES = {
    shape.name: shape
    for shape in (
        Shape("toy", 2, 64, 2, 1, 32, 96, 32, 512, 256),  # for trying a recipe out in a minute
        SMALL,
        # 37.3 million parameters: with one byte each the file stays under 40 MB
        Shape("medium", 12, 512, 8, 2, 64, 1216, 64, 1024, 832),
    )
}


def save_shape(shape: Shape, folder: Path) -> None:
    """Note in a run's folder which shape it trains."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).write_text(json.dumps({"shape": shape.name}) + "\n")


def load_shape(folder: Path) -> Shape:
    """The shape of a run; a folder that does not say is of the small one."""
    path = folder / FILE_NAME
    return SHAPES[json.loads(path.read_text())["shape"]] if path.exists() else SMALL


def text_config(vocabulary: int, shape: Shape = SMALL) -> dict[str, Any]:
    """`text_config` of a `DiffusionGemmaConfig`."""
    return {
        "model_type": "diffusion_gemma_text",
        "vocab_size": vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.dense,
        "moe_intermediate_size": shape.expert,
        "num_experts": 1,
        "top_k_experts": 1,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "num_global_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head,
        "global_head_dim": shape.head,
        "layer_types": [
            "sliding_attention" if (index + 1) % FULL_EVERY and index + 1 < shape.layers else "full_attention"
            for index in range(shape.layers)
        ],
        "sliding_window": shape.window,
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


def dense_config(vocabulary: int, shape: Shape = SMALL) -> DenseConfig:
    """The same shape for our own model."""
    return DenseConfig.from_text_config(text_config(vocabulary, shape))
