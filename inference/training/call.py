"""One call on a training machine: probe, train for some minutes from where the last call stopped, bring weights home.

Calls on one machine share its disk: the same command again goes on. What one call leaves in `out` is small enough to
come back from a machine elsewhere, so that a lost machine costs one call and not the run.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.architecture import SHAPES, Shape, dense_config, save_shape
from inference.training.card import METRICS
from inference.training.distil import Distiller
from inference.training.drawing import TokenSampler
from inference.training.home import write_home
from inference.training.packed_train import LOG, PackedRecipe, PackedTrainer
from inference.training.packing import RowSize
from inference.training.schedule import Phase
from inference.training.shards import BESIDE, read_shards
from inference.training.throughput import Throughput, flops_per_token
from inference.training.tokenizer import load_tokenizer
from inference.training.validation import validation_losses

PROBE_SECONDS = 60.0
ENDING_SECONDS = 20.0  # of a call: the last state, validation, the files in `out`


@dataclass(frozen=True)
class CallSettings:
    """What a call is asked to do; `calls` is how many such calls the whole run has."""

    data: Path
    run: Path
    out: Path
    shape: str = "medium"
    device: str = "cpu"
    minutes: float = 9.0
    calls: int = 1
    rows: int = 48
    workers: int = 0
    seed: int = 0
    compiled: bool = True
    distil_minutes: float = 0.0


def default_device() -> str:
    """`cuda` where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def default_workers(device: str) -> int:
    """Half of the cores feed a GPU, 8 at most (one draws 2,500 examples a second); a CPU trains with all of them."""
    return min(8, max(1, (os.cpu_count() or 2) // 2)) if device == "cuda" else 0


def row_size(spec: InfillSpec, device: str) -> RowSize:
    """Rows for prompts of this length: long ones on a GPU, where attention over foreign blocks costs nothing."""
    largest = spec.canvas_buckets[-1] * RowSize().canvases
    if device == "cuda":
        return RowSize(prompt=max(RowSize().prompt, 2 * spec.max_prompt_tokens), canvas=max(RowSize().canvas, largest))
    return RowSize(prompt=max(512, spec.max_prompt_tokens), canvas=largest, examples=12)


def run_call(settings: CallSettings, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Train for what is left of `minutes` after loading; returns the metrics that are also written to `out`."""
    begun = time.monotonic()
    shape = SHAPES[settings.shape]
    trainer = _trainer(settings, shape)
    name = torch.cuda.get_device_name() if settings.device == "cuda" else "CPU"
    trainer.warm_up()
    warm = time.monotonic() - begun
    calls_left = max(1, settings.calls - trainer.position["calls"])
    seconds = settings.minutes * 60 - warm - ENDING_SECONDS
    if seconds <= 0:
        raise ValueError(f"loading and compiling took {warm:.0f} s of {settings.minutes:g} minutes; give more")
    distil_seconds = settings.distil_minutes * 60 if calls_left == 1 else 0.0
    cost = flops_per_token(trainer.model, shape)
    probe = _Probe(trainer, cost, name, min(PROBE_SECONDS, seconds / 4))
    number = trainer.position["calls"] + 1
    print(f"call {number} of {settings.calls}: {warm:.0f} s to load, {seconds:.0f} s of training", flush=True)
    trainer.run(seconds - distil_seconds, calls_left, stop, probe.after_step)
    if distil_seconds > 0:
        Distiller(trainer).run(distil_seconds, stop)
    return _bring_home(settings, trainer, shape, {"device": name, "probe": probe.result} | probe.numbers)


def _trainer(settings: CallSettings, shape: Shape) -> PackedTrainer:
    torch.set_float32_matmul_precision("high")
    spec = replace(InfillSpec.load(settings.data), max_prompt_tokens=shape.max_prompt_tokens)
    settings.run.mkdir(parents=True, exist_ok=True)
    save_shape(shape, settings.run)
    spec.save(settings.run)
    for name in BESIDE[:2]:
        (settings.run / name).write_bytes((settings.data / name).read_bytes())
    sampler = TokenSampler(read_shards(settings.data), load_tokenizer(settings.data))
    device = torch.device(settings.device)
    model = DenseDiffusionGemma(dense_config(spec.noise_high, shape)).bfloat16().to(device)
    recipe = PackedRecipe(
        size=row_size(spec, settings.device),
        rows=settings.rows,
        seed=settings.seed,
        workers=settings.workers,
        compiled=settings.compiled,
    )
    return PackedTrainer(model, sampler, spec, recipe, settings.run)


class _Probe:
    """Measures the first minute once compilation is over, and says so while the call still runs."""

    def __init__(self, trainer: PackedTrainer, cost: float, device: str, seconds: float) -> None:
        self.trainer, self.cost, self.device, self.seconds = trainer, cost, device, seconds
        self.first: tuple[float, int, int] | None = None
        self.steps = 0
        self.result = ""
        self.numbers: dict[str, float | None] = {}

    def after_step(self, phase: Phase) -> None:
        self.steps += 1
        now, tokens = time.monotonic(), self.trainer.tokens
        if self.steps == 4:  # both kinds of step are compiled by now
            self._wait()
            self.first = (time.monotonic(), tokens, self.steps)
        elif self.first and not self.result and now - self.first[0] >= self.seconds:
            self._wait()
            measured = Throughput(tokens - self.first[1], time.monotonic() - self.first[0], self.cost, self.device)
            self.result = f"{measured} ({self.trainer.way})"
            step = measured.seconds / (self.steps - self.first[2])
            self.numbers = {
                "tokens_per_second": measured.tokens_per_second,
                "utilisation": measured.utilisation,
                "milliseconds_per_step": 1000 * step,
                "waited_for_data": self.trainer.waited / max(now - self.first[0], 1e-9),
            }
            print(f"probe: {self.result}, {1000 * step:.0f} ms a step", flush=True)

    def _wait(self) -> None:
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize()
        self.trainer.waited = 0.0 if self.first is None else self.trainer.waited


def _bring_home(
    settings: CallSettings, trainer: PackedTrainer, shape: Shape, metrics: dict[str, Any]
) -> dict[str, Any]:
    trainer.optimizer.use("average")
    held_out = TokenSampler(read_shards(settings.data, "held_out.xz"), load_tokenizer(settings.data))
    metrics |= trainer.position
    metrics |= validation_losses(trainer.model, held_out, trainer.spec, trainer.recipe.size)
    log = settings.run / LOG
    metrics["log"] = [json.loads(line) for line in log.read_text().splitlines()[-400:]] if log.exists() else []
    average = {
        name.removeprefix("average/"): tensor
        for name, tensor in trainer.optimizer.state.items()
        if name.startswith("average/")
    }
    write_home(average, settings.run, settings.out, {key: metrics[key] for key in metrics if key != "log"})
    (settings.out / METRICS).write_text(json.dumps(metrics) + "\n")
    print(json.dumps({key: value for key, value in metrics.items() if key != "log"}), flush=True)
    return metrics
