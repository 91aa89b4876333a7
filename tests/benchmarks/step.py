"""What a step of the embedded model costs on the CPU: ``python -m tests.benchmarks.step``.

The plain dense model and the lean one, taking turns in one process, with a prompt of 512 random tokens; the least of
many runs in milliseconds, since other programs only ever make a run longer. A step is the decoder forward over a whole
canvas and the soft embeddings of its logits; what the sampler does between the two is not in it. Beside it what it
costs to judge eight texts of so many tokens each, and three of the suffix, in one causal forward behind the prompt.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from inference.checkpoint import EMBEDDED
from inference.models.dense import DenseDiffusionGemma
from inference.models.lean_denoiser import LeanDenoiser
from lsp_server.bench.progress import Advance, progress

CANVASES, PROMPT_TOKENS, ROUNDS = (16, 32, 64), 512, 60
TEXTS, TEXT_TOKENS, HEAD_TOKENS = 8, (6, 12, 40), 3
WARM_UP, THREADS = 3, 2
Step = Callable[[], object]


def least(steps: dict[str, Step], advance: Advance) -> dict[str, float]:
    """The least milliseconds of each, when they take turns; ``advance`` is called after each turn."""
    found = dict.fromkeys(steps, float("inf"))
    for turn in range(ROUNDS + WARM_UP):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if turn >= WARM_UP:
                found[name] = min(found[name], (time.perf_counter() - began) * 1000)
        advance("")
    return found


def plain_step(model: DenseDiffusionGemma, prompt_ids: torch.Tensor, canvas: torch.Tensor) -> Step:
    """The plain model's, which makes the soft embeddings itself."""
    kv = model.encode(prompt_ids)
    before = model.decode(canvas, kv)
    return lambda: model.decode(canvas, kv, before)


def lean_step(denoiser: LeanDenoiser, prompt_ids: torch.Tensor, canvas: torch.Tensor) -> Step:
    """The lean denoiser's."""
    prompt, (rows, length) = denoiser.encode(prompt_ids), canvas.shape
    zero = torch.zeros_like(denoiser.embeddings(canvas))
    before = denoiser.denoise(canvas, prompt, zero)
    return lambda: denoiser.denoise(canvas, prompt, denoiser.soft_embeddings(before.softmax(-1)).view(rows, length, -1))


def judgement(denoiser: LeanDenoiser, prompt_ids: torch.Tensor, tokens: int) -> Step:
    """Scoring eight texts of so many tokens behind a prompt."""
    prompt, last = denoiser.encode(prompt_ids), prompt_ids.shape[1] - 1
    generator = torch.Generator().manual_seed(tokens)
    texts = torch.randint(denoiser.vocab_size, (TEXTS, tokens + HEAD_TOKENS), generator=generator).tolist()
    rows = [[int(prompt_ids[0, last]), *text] for text in texts]
    return lambda: denoiser.score(rows, prompt, last)


@torch.inference_mode()
def main() -> int:
    """Print the table."""
    torch.set_num_threads(THREADS)
    config = json.loads((EMBEDDED / "config.json").read_text())
    weights = load_file(EMBEDDED / "model.safetensors")
    cpu, vocabulary = torch.device("cpu"), config["text_config"]["vocab_size"]
    generator = torch.Generator().manual_seed(0)
    prompt_ids = torch.randint(vocabulary, (1, PROMPT_TOKENS), generator=generator)
    lean = {
        name: LeanDenoiser.load(config, weights, cpu, torch.bfloat16, lambda *_: None, name)
        for name in ("fp32", "bf16", "fp8")
    }
    plain = {"fp32": torch.float32, "bf16": torch.bfloat16}
    models = {name: DenseDiffusionGemma.load(EMBEDDED, dtype) for name, dtype in plain.items()}
    table = Table("canvas", title=f"step of the embedded model, prompt {PROMPT_TOKENS}, ms")
    with progress("measuring", len(CANVASES) * (WARM_UP + ROUNDS)) as advance:
        for length in CANVASES:
            canvas = torch.randint(vocabulary, (1, length), generator=generator)
            steps = {f"plain {name}": plain_step(model, prompt_ids, canvas) for name, model in models.items()}
            steps |= {f"lean {name}": lean_step(denoiser, prompt_ids, canvas) for name, denoiser in lean.items()}
            found = least(steps, advance)
            if length == CANVASES[0]:
                for name in (*steps, "plain / lean, bf16"):
                    table.add_column(name, justify="right")
            ratio = found["plain bf16"] / found["lean bf16"]
            table.add_row(str(length), *(f"{ms:.2f}" for ms in found.values()), f"{ratio:.2f}")
    Console().print(table)
    judged = Table("tokens each", title=f"judging {TEXTS} texts, prompt {PROMPT_TOKENS}, ms")
    judged.add_column("bf16", justify="right")
    judged.add_column("in steps of a canvas of 32", justify="right")
    canvas = torch.randint(vocabulary, (1, 32), generator=generator)
    with progress("measuring", len(TEXT_TOKENS) * (WARM_UP + ROUNDS)) as advance:
        for tokens in TEXT_TOKENS:
            denoiser = lean["bf16"]
            one = lean_step(denoiser, prompt_ids, canvas)
            found = least({"score": judgement(denoiser, prompt_ids, tokens), "step": one}, advance)
            judged.add_row(str(tokens), f"{found['score']:.2f}", f"{found['score'] / found['step']:.2f}")
    Console().print(judged)
    return 0


if __name__ == "__main__":
    sys.exit(main())
