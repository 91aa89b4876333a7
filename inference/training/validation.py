"""Losses on text that training never sees, on the same seeded examples each time."""

import random

import torch

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.drawing import TokenSampler, draw_examples
from inference.training.packed_attention import plain_masks
from inference.training.packed_forward import packed_losses, states
from inference.training.packed_noise import add_noise
from inference.training.packing import RowSize, batch_of, pack_rows

EXAMPLES = 256
ROWS = 4  # at a time
LARGEST = 64  # tokens of a canvas


@torch.no_grad()
def validation_losses(
    model: DenseDiffusionGemma,
    sampler: TokenSampler,
    spec: InfillSpec,
    size: RowSize,
    count: int = EXAMPLES,
    seed: int = 0,
) -> dict[str, float]:
    """Mean losses in nats per token: of canvases, of the encoder's next token, of canvases of pure noise."""
    device = model.embed_tokens.weight.device
    training = model.training
    model.eval()
    rng = random.Random(seed)
    rows = list(pack_rows(draw_examples(sampler, spec, rng, count, LARGEST), size, rng))
    generator = torch.Generator(device).manual_seed(seed)
    sums: dict[str, list[float]] = {"canvas": [], "encoder": [], "noise": []}
    for start in range(0, len(rows), ROWS):
        batch = batch_of(rows[start : start + ROWS], spec).to(device)
        noisy = add_noise(batch, size, spec, False, generator)
        hidden, decoded = states(model, batch, noisy.ids, plain_masks(batch), True)
        losses = packed_losses(model, batch, noisy, hidden, decoded, 1.0)
        for name, values in sums.items():
            value = float(getattr(losses, name))
            if value == value:
                values.append(value)
    model.train(training)
    return {f"held_out_{name}": sum(values) / len(values) for name, values in sums.items() if values}
