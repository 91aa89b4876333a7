"""Documents and a model small enough to train in seconds."""

import json

from inference.models.dense import DenseConfig
from inference.training.corpus import Document

CODE = "".join(
    f"def f{n % 7}(left, right):\n    total = left + right  # süm\n    return total * {n}\n\n\n" for n in range(60)
)
DOCUMENTS = [
    Document("p", "a.py", "python", CODE),
    Document("p", "b.md", "markdown", CODE),
    Document("p", "c.py", "python", "x = 1"),
    Document("p", "d.py", "python", json.dumps({"no": "line breaks here"})),
]
TOY = DenseConfig(
    vocab_size=400, hidden_size=32, intermediate_size=48, expert_size=16, heads=2, kv_heads=1, full_kv_heads=1,
    head_dim=16, full_head_dim=16, full=(False, True), window=256, epsilon=1e-6, softcap=30.0, theta=1e4,
    full_theta=1e6, full_rotary_share=0.25,
)  # fmt: skip
