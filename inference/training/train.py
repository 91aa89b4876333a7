"""The training loop. All that happens before the decay depends on the seed and the absolute step, never on the end."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference.formats.infill_spec import InfillSpec
from inference.models import dense_blocks
from inference.models.dense import DenseDiffusionGemma
from inference.training import loss
from inference.training.checkpointing import load_run, save_run
from inference.training.examples import Batch, Pools
from inference.training.noise import canvas_weights, corrupt, noise_levels
from inference.training.optimizer import Optimizer, Rates

WARM_UP = 100  # steps
DECAY = 0.25  # share of all steps
ENCODER_WEIGHT, LAST_ENCODER_WEIGHT = 1.0, 0.3  # of the autoregressive loss; falls during the decay only


@dataclass(frozen=True)
class Recipe:
    """What shapes a run; `steps` may be chosen late."""

    steps: int
    seed: int = 0
    canvases: int = 4  # per prompt
    self_conditioning_from: int = 800  # step
    checkpoint_seconds: float = 240.0
    log_every: int = 10
    compiled: bool = False

    def decay_progress(self, step: int) -> float:
        """0 until the decay starts, 1 at the end."""
        start = self.steps * (1.0 - DECAY)
        return max(0.0, (step - start) / max(1.0, self.steps - start))

    def rate_factor(self, step: int) -> float:
        """Warm-up, hold, linear decay."""
        return min(1.0, (step + 1) / WARM_UP) * (1.0 - self.decay_progress(step))

    def encoder_weight(self, step: int) -> float:
        """Weight of the encoder's autoregressive loss."""
        return ENCODER_WEIGHT + (LAST_ENCODER_WEIGHT - ENCODER_WEIGHT) * self.decay_progress(step)


@dataclass
class Losses:
    """Means over one batch, in nats; `noise` is the loss on replaced gap and end tokens of canvases of pure noise."""

    total: Tensor
    canvas: float
    encoder: float
    noise: float


def initialize(model: DenseDiffusionGemma, seed: int) -> None:
    """Random weights; residual branches start small, and queries and keys short, since attention is not scaled."""
    generator = torch.Generator().manual_seed(seed)
    branches = 2 * len(model.layers)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if name.endswith(("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")):
                parameter.fill_(branches**-0.5)
            elif name.endswith(("q_norm.weight", "k_norm.weight")):
                parameter.fill_(0.4)
            elif "embed" in name:
                parameter.copy_(_normal(parameter, 0.04, generator))
            elif parameter.ndim >= 2:
                parameter.copy_(_normal(parameter, 0.5 * parameter.shape[-1] ** -0.5, generator))
        # With one expert the router decides nothing and gets no gradient.
        parameter.requires_grad_("router.proj" not in name and "router.scale" not in name)


def _normal(like: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Drawn on the CPU, so that a seed means the same on every device."""
    return torch.empty_like(like, device="cpu").normal_(0.0, deviation, generator=generator)


def batch_losses(
    model: DenseDiffusionGemma,
    batch: Batch,
    spec: InfillSpec,
    canvases: int,
    encoder_weight: float,
    self_conditioning: bool,
    generator: torch.Generator,
) -> Losses:
    """Both losses of one batch: the canvases of a prompt lie side by side, apart in the mask, and share its keys."""
    rows, prompt = batch.prompts.shape
    size = batch.canvases.shape[1]
    t = noise_levels(rows, canvases, generator)
    clean = batch.canvases[:, None].expand(-1, canvases, -1)
    noisy, replaced = corrupt(clean, t, spec.noise_low, spec.noise_high, generator)
    weights = canvas_weights(clean, replaced, spec.pads)
    positions = batch.lengths[:, None] + torch.arange(size).repeat(canvases)  # (B, K * C)
    mask = side_by_side_mask(batch.lengths, prompt, canvases, size, model.dtype)

    hidden, kv = model.encode_hidden(batch.prompts)
    flat = noisy.flatten(1)
    soft = None
    if self_conditioning:
        with torch.no_grad():
            known = [(keys.detach(), values.detach()) for keys, values in kv]
            soft = model.soft_embeddings(model.logits(model.decode_hidden(flat, known, positions, mask, None)))
    decoded = model.decode_hidden(flat, kv, positions, mask, soft)

    embedding, softcap = model.embed_tokens.weight, model.config.softcap
    real = torch.arange(prompt - 1) < batch.lengths[:, None] - 1  # (B, P - 1): positions that have a next token
    states = torch.cat((decoded.flatten(0, 1), hidden[:, :-1][real]))
    targets = torch.cat((clean.flatten(), batch.prompts[:, 1:][real]))
    encoder_share = torch.full((int(real.sum()),), encoder_weight / int(real.sum()))
    row_weights = torch.cat((weights.flatten() / weights.sum(), encoder_share))
    total, losses = loss.softcap_cross_entropy(states, embedding, targets, row_weights, softcap)

    on_canvas = losses[: weights.numel()].view(weights.shape)
    counted = replaced & (weights == 1.0) & (t[..., None] == 1.0)
    pure = on_canvas[counted].mean() if counted.any() else torch.tensor(math.nan)
    mean_canvas = (on_canvas * weights).sum() / weights.sum()
    return Losses(total, float(mean_canvas), float(losses[weights.numel() :].mean()), float(pure))


def side_by_side_mask(lengths: Tensor, prompt: int, canvases: int, size: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (B, 1, K * C, P + K * C): every canvas sees its prompt without padding, and itself."""
    to_prompt = torch.arange(prompt) < lengths[:, None]  # (B, P)
    owner = torch.arange(canvases).repeat_interleave(size)
    to_canvas = owner[:, None] == owner  # (K * C, K * C)
    visible = torch.cat(
        (
            to_prompt[:, None].expand(-1, len(owner), -1),
            to_canvas.expand(len(lengths), -1, -1),
        ),
        dim=-1,
    )
    return torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, -math.inf)[:, None]


def compile_pointwise() -> None:
    """Fuse what memory bounds on a CPU; whole layers take minutes to compile and gain nothing more."""
    loss.row_losses = torch.compile(loss.row_losses, dynamic=False)
    for name in ("rms_normalize", "rotate", "gated"):
        setattr(dense_blocks, name, torch.compile(getattr(dense_blocks, name), dynamic=True))


class Trainer:
    """A resumable run; `folder` holds its state and its log, outside of the repository."""

    def __init__(
        self, model: DenseDiffusionGemma, pools: Pools, recipe: Recipe, folder: Path, rates: Rates | None = None
    ) -> None:
        self.model, self.pools, self.recipe, self.folder = model, pools, recipe, folder
        initialize(model, recipe.seed)
        self.optimizer = Optimizer(model, rates)
        self.position = {"step": 0, "pool": 0, "batch": 0, "prompt_tokens": 0, "canvas_tokens": 0}
        folder.mkdir(parents=True, exist_ok=True)
        if load_run(folder, self.optimizer, self.position):
            print(f"resumed at step {self.position['step']}", flush=True)
        self.optimizer.use("master")
        if recipe.compiled:
            compile_pointwise()

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Train up to `recipe.steps`, or until `stop` says so; the state is saved on the way and at the end."""
        saved = time.monotonic()
        self.model.train()
        while self.position["step"] < self.recipe.steps and not stop():
            pool = self.pools.pool(self.position["pool"])
            while self.position["batch"] < len(pool):
                if self.position["step"] >= self.recipe.steps or stop():
                    break
                self._step(pool[self.position["batch"]])
                if time.monotonic() - saved > self.recipe.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
            else:
                self.position["pool"] += 1
                self.position["batch"] = 0
        self.save()

    def save(self) -> None:
        """Write the state of the run."""
        save_run(self.folder, self.optimizer, self.position)

    def _step(self, batch: Batch) -> None:
        started, step, recipe = time.monotonic(), self.position["step"], self.recipe
        generator = torch.Generator().manual_seed((recipe.seed << 32) + step)
        losses = batch_losses(
            self.model,
            batch,
            self.pools.spec,
            recipe.canvases,
            recipe.encoder_weight(step),
            step >= recipe.self_conditioning_from and bool(torch.rand((), generator=generator) < 0.5),
            generator,
        )
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = float(self.optimizer.step(step, recipe.rate_factor(step)))
        self.position["step"] += 1
        self.position["batch"] += 1
        self.position["prompt_tokens"] += int(batch.lengths.sum())
        self.position["canvas_tokens"] += batch.canvases.numel() * recipe.canvases
        if step % recipe.log_every == 0:
            self._log(step, losses, norm, time.monotonic() - started)

    def _log(self, step: int, losses: Losses, norm: float, seconds: float) -> None:
        line = {
            "step": step,
            "canvas": round(losses.canvas, 4),
            "encoder": round(losses.encoder, 4),
            "noise": None if math.isnan(losses.noise) else round(losses.noise, 4),
            "norm": round(norm, 4),
            "seconds": round(seconds, 3),
            "rate": round(self.recipe.rate_factor(step), 4),
            "prompt_tokens": self.position["prompt_tokens"],
            "canvas_tokens": self.position["canvas_tokens"],
        }
        with (self.folder / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")
