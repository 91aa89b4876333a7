"""Training on packed rows, on a GPU or a CPU, planned in minutes and resumable."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import torch

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.checkpointing import load_run, save_run
from inference.training.drawing import TokenSampler
from inference.training.feed import Feed
from inference.training.optimizer import Optimizer, Rates
from inference.training.packed_forward import PackedLosses, packed_losses
from inference.training.packed_noise import Noisy, add_noise
from inference.training.packing import PackedBatch, RowSize
from inference.training.passes import Passes
from inference.training.schedule import Phase, TimePlan
from inference.training.train import initialize

LOG = "log.jsonl"


@dataclass(frozen=True)
class PackedRecipe:
    """What shapes a packed run; `rows` of `size` make one step."""

    size: RowSize = field(default_factory=RowSize)
    rows: int = 48
    seed: int = 0
    workers: int = 0
    compiled: bool = False
    log_every: int = 20
    checkpoint_seconds: float = 180.0
    average: float = 0.999  # of the moving average of the weights


class PackedTrainer:
    """A resumable run; `folder` holds its state and its log, outside of the repository.

    Which examples come depends on the step at which a call began, and the schedule on the clock: a resumed run goes
    on, but does not repeat another one bit by bit.
    """

    def __init__(
        self,
        model: DenseDiffusionGemma,
        sampler: TokenSampler,
        spec: InfillSpec,
        recipe: PackedRecipe,
        folder: Path,
        rates: Rates | None = None,
        start: Callable[[DenseDiffusionGemma], None] | None = None,
    ) -> None:
        recipe.size.check(spec)
        if spec.max_prompt_tokens >= model.config.window:  # of prompts alone: all layers see the whole canvas
            raise ValueError(f"prompts of {spec.max_prompt_tokens} tokens do not fit into the model's sliding window")
        self.model, self.spec, self.recipe, self.folder = model, spec, recipe, folder
        (start or (lambda fresh: initialize(fresh, recipe.seed)))(model)
        self.device = model.embed_tokens.weight.device
        self.optimizer = Optimizer(model, rates or Rates(average=recipe.average))
        self.position = {"step": 0, "milliseconds": 0, "calls": 0, "prompt_tokens": 0, "canvas_tokens": 0}
        folder.mkdir(parents=True, exist_ok=True)
        if load_run(folder, self.optimizer, self.position):
            print(f"resumed at step {self.position['step']}", flush=True)
        self.optimizer.use("master")
        self.generator = torch.Generator(self.device).manual_seed((recipe.seed << 32) + self.position["step"])
        self._longest = get_context("fork").Value("i", spec.canvas_buckets[0])
        feed = Feed(sampler, spec, recipe.size, recipe.rows, recipe.seed + self.position["step"], self._longest)
        self._batches = feed.batches(recipe.workers, self.device.type == "cuda")
        self._passes = Passes(model, recipe.compiled)
        self.waited = 0.0  # seconds without work because no batch was ready
        self._logged = (time.monotonic(), 0)

    def warm_up(self) -> None:
        """Compile what will be compiled, so that it does not count as training."""
        batch = self.next_batch()
        for conditioned in (False, True):
            hidden, decoded = self._passes(batch, batch.canvases, conditioned)
            noisy = Noisy(batch.canvases, batch.weights, batch.weights > 1.0)
            packed_losses(self.model, batch, noisy, hidden, decoded, 1.0).total.backward()  # type: ignore[no-untyped-call]
            for parameter in self.model.parameters():
                parameter.grad = None

    def run(
        self,
        seconds: float,
        calls: int = 1,
        stop: Callable[[], bool] = lambda: False,
        after_step: Callable[[Phase], None] = lambda phase: None,
        begin: float = 0.0,
    ) -> None:
        """Train for `seconds`; `calls` (this one included) are still to come and share the schedule.

        `begin` leaves out the first part of the schedule. The state is saved on the way and at the end.
        """
        done = self.position["milliseconds"]
        plan = TimePlan(done / 1000, seconds, calls)
        begun = saved = time.monotonic()
        self._logged = (begun, self.tokens)
        self.model.train()
        while (elapsed := time.monotonic() - begun) < seconds and not stop():
            phase = Phase(begin + (1.0 - begin) * plan.progress(elapsed))
            self.step(phase)
            self.position["milliseconds"] = done + round((time.monotonic() - begun) * 1000)
            after_step(phase)
            if time.monotonic() - saved > self.recipe.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.position["calls"] += 1
        self.save()

    def save(self) -> None:
        """Write the state of the run."""
        save_run(self.folder, self.optimizer, self.position)

    def limit_canvas(self, length: int) -> None:
        """From the next batches on (those that are ready stay) no canvas is longer than `length` tokens."""
        self._longest.value = length

    def next_batch(self) -> PackedBatch:
        """The next batch, on its way to the device."""
        asked = time.monotonic()
        batch = next(self._batches)
        self.waited += time.monotonic() - asked
        return batch.to(self.device)

    @property
    def way(self) -> str:
        """How the model is run."""
        return self._passes.name

    def step(self, phase: Phase) -> None:
        """One update."""
        number = self.position["step"]
        self.limit_canvas(phase.largest_canvas(self.spec.canvas_buckets[-1]))
        batch = self.next_batch()
        noisy = add_noise(batch, self.recipe.size, self.spec, phase.edits, self.generator)
        conditioned = phase.self_conditioning and number % 2 == 0
        hidden, decoded = self._passes(batch, noisy.ids, conditioned)
        losses = packed_losses(self.model, batch, noisy, hidden, decoded, phase.encoder_weight)
        self.update(losses, phase, batch)

    def update(self, losses: PackedLosses, phase: Phase, batch: PackedBatch, factor: float | None = None) -> None:
        """Learn from the losses of one batch, with the phase's rates or with `factor`, and log now and then."""
        number = self.position["step"]
        rate = phase.rate_factor(number) if factor is None else factor
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = self.optimizer.step(number, rate)
        self.position["step"] += 1
        self.position["prompt_tokens"] += batch.prompts.numel()
        self.position["canvas_tokens"] += batch.canvases.numel()
        if number % self.recipe.log_every == 0:
            noise = float(losses.noise)
            now, tokens = time.monotonic(), self.tokens
            before, counted = self._logged
            self._logged = (now, tokens)
            line = {
                "step": number,
                "canvas": round(float(losses.canvas), 4),
                "encoder": round(float(losses.encoder), 4),
                "noise": None if noise != noise else round(noise, 4),
                "norm": round(float(norm), 4),
                "progress": round(phase.progress, 4),
                "rate": round(rate, 4),
                "tokens_per_second": round((tokens - counted) / (now - before)),
                "filled": round(batch.filled, 3),
                "prompt_tokens": self.position["prompt_tokens"],
                "canvas_tokens": self.position["canvas_tokens"],
            }
            with (self.folder / LOG).open("a") as stream:
                stream.write(json.dumps(line) + "\n")

    @property
    def tokens(self) -> int:
        """Prompt and canvas positions seen so far, padding included."""
        return self.position["prompt_tokens"] + self.position["canvas_tokens"]
