"""The last phase, if asked for: the model learns from its own 16-step answers to give them in 4 to 6 steps.

A frozen copy of the averaged weights denoises canvases from pure noise; the model is shown the canvases that the copy
had after few steps and learns the tokens that the copy ended with (after consistency distillation, arXiv 2506.10892).
Half of each batch's loss stays on the real text, so that a wrong answer of the copy is not all that is learnt.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inference.models.dense import KeyValues
from inference.training.denoise import Sampling, accepted
from inference.training.packed_attention import attention, plain_masks
from inference.training.packed_forward import PackedLosses, packed_losses, states
from inference.training.packed_noise import Noisy
from inference.training.packed_train import PackedTrainer
from inference.training.packing import PackedBatch
from inference.training.schedule import Phase

TEACHER_STEPS = 16
SEEN_AFTER = (0, 1, 2, 4)  # the teacher's steps after which the student looks: what it meets in 4 to 6 of its own
REAL_SHARE = 0.5
LARGEST = 32  # tokens of a canvas: what holds a line
AVERAGE = 0.99  # of the moving average of the weights: this phase is short
RATE = 0.1  # of the run's full learning rates, falling to nothing
ENCODER_WEIGHT = 0.3


class Distiller:
    """Goes on with a trainer whose run is over; its canvases are those that hold a line."""

    def __init__(self, trainer: PackedTrainer, sampling: Sampling | None = None) -> None:
        self.trainer = trainer
        self.sampling = replace(sampling or Sampling(), max_denoising_steps=TEACHER_STEPS)
        trainer.limit_canvas(LARGEST)
        trainer.optimizer.rates = replace(trainer.optimizer.rates, average=AVERAGE)
        trainer.optimizer.use("average")
        self.teacher = copy.deepcopy(trainer.model).eval().requires_grad_(False)
        for name in trainer.optimizer.parameters:
            trainer.optimizer.state[f"master/{name}"].copy_(trainer.optimizer.state[f"average/{name}"])

    def run(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Distil for `seconds` and save."""
        begun = time.monotonic()
        while (elapsed := time.monotonic() - begun) < seconds and not stop():
            self.step(1.0 - elapsed / seconds)
        self.trainer.save()

    def step(self, rate: float) -> None:
        """One update with the run's learning rates times `RATE` and `rate`."""
        trainer = self.trainer
        batch = trainer.next_batch()
        seen, answer = self.answers(batch)
        conditioned = trainer.position["step"] % 2 == 0
        hidden, decoded = states(trainer.model, batch, seen, plain_masks(batch), conditioned)
        noisy = Noisy(seen, batch.weights, torch.zeros_like(batch.weights, dtype=torch.bool))
        real = packed_losses(trainer.model, batch, noisy, hidden, decoded, ENCODER_WEIGHT)
        taught = packed_losses(trainer.model, batch, noisy, hidden, decoded, ENCODER_WEIGHT, answer)
        total = REAL_SHARE * real.total + (1.0 - REAL_SHARE) * taught.total
        losses = PackedLosses(total, taught.canvas, taught.encoder, real.canvas)
        trainer.update(losses, Phase(1.0), batch, RATE * rate)

    @torch.no_grad()
    def answers(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """The canvases after a few of the teacher's steps, drawn per canvas, and its last tokens; both (B, T)."""
        teacher, spec, generator = self.teacher, self.trainer.spec, self.trainer.generator
        on_prompts, on_canvases = map(attention, plain_masks(batch))
        embedded = teacher.embed_tokens(batch.prompts) * teacher.embedding_scale
        kv: KeyValues = teacher.run(embedded, batch.prompt_positions, None, (on_prompts, on_prompts), encoding=True)[1]
        shape, device = batch.canvases.shape, batch.canvases.device
        draws: dict[str, Any] = {"generator": generator, "device": device}
        ids = torch.randint(spec.noise_low, spec.noise_high, shape, **draws)
        size = self.trainer.recipe.size
        choice = torch.randint(0, len(SEEN_AFTER), (shape[0], size.examples * size.canvases), **draws)
        wanted = torch.tensor(SEEN_AFTER, device=device)[choice].gather(1, batch.canvas_numbers)
        seen, soft, best = ids, None, ids
        for step in range(TEACHER_STEPS):
            seen = torch.where(wanted == step, ids, seen)
            logits = teacher.logits(teacher.decode_hidden(ids, kv, batch.canvas_positions, on_canvases, soft))
            remaining = (TEACHER_STEPS - step) / TEACHER_STEPS
            scaled = logits / (self.sampling.t_min + (self.sampling.t_max - self.sampling.t_min) * remaining)
            log_p = scaled.log_softmax(-1)
            probabilities = log_p.exp()
            entropy = -(probabilities * log_p).sum(-1)
            best = scaled.argmax(-1)
            sampled = torch.multinomial(probabilities.flatten(0, 1), 1, generator=generator).view(shape)
            noise = torch.randint(spec.noise_low, spec.noise_high, shape, **draws)
            ids = torch.where(accepted_in_canvases(entropy, batch, self.sampling.entropy_bound), sampled, noise)
            soft = teacher.soft_embeddings(scaled)
        return seen, best


def accepted_in_canvases(entropy: Tensor, batch: PackedBatch, bound: float) -> Tensor:
    """`accepted` for each canvas of packed rows by itself: `entropy` (B, T) -> (B, T)."""
    starts = batch.slots == 0
    rows, length = entropy.shape
    index = (starts.cumsum(-1) - 1).clamp(min=0)  # which canvas of the row, padding included
    longest = int(batch.sizes.max())
    count = int(index.max()) + 1
    apart = torch.full((rows, count, longest), torch.inf, device=entropy.device)
    row = torch.arange(rows, device=entropy.device)[:, None].expand(-1, length)
    apart[row, index, batch.slots] = entropy
    taken: Tensor = accepted(apart.nan_to_num(posinf=1e9), bound)[row, index, batch.slots]
    return taken
