"""The packed training pass: prompts causally, canvases bidirectionally over the prompts' keys, and both losses."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.models.dense import DenseDiffusionGemma
from inference.training import loss
from inference.training.packed_attention import Masks, attention
from inference.training.packed_noise import Noisy
from inference.training.packing import PackedBatch

CHUNK = 16_384  # rows of logits at a time on a GPU


@dataclass(frozen=True)
class PackedLosses:
    """Scalars in nats, still on the device; `noise` is the loss on gap tokens of canvases of pure noise."""

    total: Tensor
    canvas: Tensor
    encoder: Tensor
    noise: Tensor


def states(
    model: DenseDiffusionGemma,
    batch: PackedBatch,
    noisy: Tensor,
    masks: Masks,
    self_conditioning: bool,
) -> tuple[Tensor, Tensor]:
    """Normalised hidden states of prompts (B, P, D) and canvases (B, T, D); `masks` are of prompts and of canvases."""
    on_prompts, on_canvases = attention(masks[0]), attention(masks[1])
    embedded = model.embed_tokens(batch.prompts) * model.embedding_scale
    attends = (on_prompts, on_prompts)
    hidden, kv = model.run(embedded, batch.prompt_positions, None, attends, encoding=True)
    soft = None
    if self_conditioning:
        with torch.no_grad():
            known = [(keys.detach(), values.detach()) for keys, values in kv]
            first = model.decode_hidden(noisy, known, batch.canvas_positions, on_canvases, None)
            soft = model.soft_embeddings(model.logits(first))
    return hidden, model.decode_hidden(noisy, kv, batch.canvas_positions, on_canvases, soft)


def packed_losses(
    model: DenseDiffusionGemma,
    batch: PackedBatch,
    noisy: Noisy,
    hidden: Tensor,
    decoded: Tensor,
    encoder_weight: float,
    targets: Tensor | None = None,
) -> PackedLosses:
    """Both losses; `targets` (B, T) replace the clean canvases as what the canvas should become."""
    owners = batch.prompt_owners
    real = (owners[:, 1:] == owners[:, :-1]) & (owners[:, 1:] >= 0)  # (B, P - 1): positions that have a next token
    on_encoder = real.flatten().float() / real.sum()
    on_canvas = noisy.weights.flatten() / noisy.weights.sum()
    clean = batch.canvases if targets is None else targets
    rows = torch.cat((decoded.flatten(0, 1), hidden[:, :-1].flatten(0, 1)))
    goals = torch.cat((clean.flatten(), batch.prompts[:, 1:].flatten()))
    weights = torch.cat((on_canvas, on_encoder * encoder_weight))
    chunk = CHUNK if rows.is_cuda else loss.CHUNK
    total, losses = loss.softcap_cross_entropy(
        rows, model.embed_tokens.weight, goals, weights, model.config.softcap, chunk
    )
    canvas, encoder = losses[: len(on_canvas)], losses[len(on_canvas) :]
    counted = (noisy.pure.flatten() & (noisy.weights.flatten() == 1.0)).float()
    noise = torch.where(counted.sum() > 0, (canvas * counted).sum() / counted.sum().clamp(min=1.0), math.nan)
    return PackedLosses(total, (canvas * on_canvas).sum(), (encoder * on_encoder).sum(), noise)
