"""Goes on from a checkpoint on the user's own repository and says what that was worth on files held out of it."""

import argparse
import hashlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseConfig, DenseDiffusionGemma
from inference.training.call import default_workers, row_size
from inference.training.corpus import Document
from inference.training.dataset import write_dataset
from inference.training.drawing import TokenSampler
from inference.training.evaluate import draw_cases, run_cases, summary
from inference.training.export import read_sampling
from inference.training.optimizer import Rates
from inference.training.packed_train import PackedRecipe, PackedTrainer
from inference.training.repository import read_repository
from inference.training.schedule import Phase
from inference.training.shards import tokenize
from inference.training.tokenizer import load_tokenizer
from inference.training.train import initialize
from inference.training.validation import validation_losses

HELD_OUT = 0.1  # of the files, one at least
LEAST_FILES, LEAST_CHARACTERS = 4, 20_000
RATES = Rates(muon=2e-3, adam=3e-4, average=0.99)  # a tenth of the recipe's
FROM_PROGRESS = 0.5  # of the recipe's schedule: all canvas lengths at once, decay over the last half
ROWS = {"cpu": 2, "cuda": 32}
STATES = 20  # bytes per parameter on disk while it trains, and in the folder that is written


@dataclass(frozen=True)
class Score:
    """What a model does on held-out files: share of line gaps that are exactly right, and its losses in nats."""

    exact: float
    losses: dict[str, float]


def finetune(arguments: argparse.Namespace) -> None:
    """The command: checks, training with a progress bar, and the report. What is wrong is one sentence."""
    console = Console(highlight=False)
    documents = read_repository(arguments.repo)
    if not documents:
        raise ValueError(f"{arguments.repo} holds nothing to train on: no source file that ignore rules let through")
    if arguments.dataset is not None:
        count = write_dataset(documents, arguments.dataset, arguments.seed)
        console.print(f"{arguments.dataset}: {count} examples of {len(documents)} files")
        return
    train, held_out = split(documents, arguments.repo)
    _check_output(arguments.out, arguments.model)
    console.print(f"{len(train)} files to learn from, {len(held_out)} held out")
    job = _Job(arguments, train, held_out)
    before = job.score()
    after = job.train(console)
    job.write()
    console.print(f"held-out line gaps exactly right: {before.exact:.3f} before, {after.exact:.3f} after")
    for name, loss in before.losses.items():
        console.print(f"{name.replace('_', ' ')} loss: {loss:.3f} before, {after.losses[name]:.3f} after")
    if after.losses["held_out_canvas"] >= before.losses["held_out_canvas"]:
        console.print("It did not help: keep the model that you have, or train for longer on more files.")
    console.print(f"written: {arguments.out}")


def split(documents: Sequence[Document], repo: Path) -> tuple[list[Document], list[Document]]:
    """Whole files to learn from and to hold out, the same each time; too few are a `ValueError`."""
    characters = sum(len(document.text) for document in documents)
    if len(documents) < LEAST_FILES or characters < LEAST_CHARACTERS:
        raise ValueError(
            f"{repo} is too small to learn from: {len(documents)} files with {characters:,} characters, "
            f"at least {LEAST_FILES} with {LEAST_CHARACTERS:,} are needed"
        )
    ordered = sorted(documents, key=lambda document: hashlib.sha256(document.path.encode()).digest())
    count = max(1, round(len(ordered) * HELD_OUT))
    return ordered[count:], ordered[:count]


def _check_output(out: Path | None, model: Path) -> None:
    if out is None:
        raise ValueError("finetune needs --out, a folder for the checkpoint (or --dataset, a file)")
    if out.exists():
        raise FileExistsError(f"{out} is there already and is never overwritten; name another folder")
    if not (model / "model.safetensors").is_file():
        raise ValueError(f"{model} is not a checkpoint folder: it has no model.safetensors")
    parent = next(folder for folder in out.resolve().parents if folder.is_dir())
    needed = STATES * (model / "model.safetensors").stat().st_size // 2
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise ValueError(f"{parent} has {free // 2**20:,} MB free, training needs {needed // 2**20:,} MB; make room")


class _Job:
    """One fine-tuning: the model, its trainer and the files held out."""

    def __init__(self, arguments: argparse.Namespace, train: Sequence[Document], held_out: Sequence[Document]) -> None:
        self.arguments, self.held_out = arguments, held_out
        self.spec = InfillSpec.load(arguments.model)
        self.tokenizer = load_tokenizer(arguments.model)
        self.weights = load_file(arguments.model / "model.safetensors")
        self.model = DenseDiffusionGemma(DenseConfig.load(arguments.model)).bfloat16()
        self.model.load_checkpoint(self.weights)
        self.size = row_size(self.spec, arguments.device)
        self.sampler = TokenSampler(tokenize(train, self.tokenizer, arguments.seed), self.tokenizer)
        self.unseen = TokenSampler(tokenize(held_out, self.tokenizer, arguments.seed), self.tokenizer)

    def score(self) -> Score:
        """The model as it is on the files held out; on the CPU, as it will be used."""
        model = self.model.cpu().eval()
        languages = sorted({document.language for document in self.held_out})
        each = -(-self.arguments.gaps // len(languages))
        sampling = read_sampling(self.arguments.model)
        outcomes = [
            outcome
            for language in languages
            for outcome in run_cases(
                model, self.tokenizer, self.spec, draw_cases(self.held_out, "line", language, each, 0), sampling, 0
            )
        ]
        return Score(summary(outcomes)["exact"], validation_losses(model, self.unseen, self.spec, self.size, count=64))

    def train(self, console: Console) -> Score:
        """Train for the minutes asked for, with a progress bar; returns the score of the averaged weights."""
        arguments = self.arguments

        def start(model: DenseDiffusionGemma) -> None:
            initialize(model, 0)  # says which parameters are trained
            model.load_checkpoint(self.weights)

        seconds = arguments.minutes * 60
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[steps]} steps"),
            TimeRemainingColumn(), console=console,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(dir=_existing_parent(arguments.out)) as folder, bar:
            trainer = PackedTrainer(
                self.model.to(arguments.device), self.sampler, self.spec,
                PackedRecipe(
                    size=self.size, rows=ROWS[arguments.device], seed=arguments.seed,
                    workers=default_workers(arguments.device), compiled=arguments.device == "cuda",
                ),
                Path(folder), RATES, start,
            )  # fmt: skip
            task = bar.add_task("training", total=seconds, steps=0)
            begun = time.monotonic()

            def show(phase: Phase) -> None:
                bar.update(task, completed=time.monotonic() - begun, steps=trainer.position["step"])

            trainer.run(seconds, after_step=show, begin=FROM_PROGRESS)
            trainer.optimizer.use("average")
        return self.score()

    def write(self) -> None:
        """The checkpoint folder: everything of the one it came from, with the weights replaced."""
        out, source = self.arguments.out, self.arguments.model
        out.mkdir(parents=True)
        for file in source.iterdir():
            if file.is_file() and file.suffix != ".safetensors" and not file.name.endswith(".index.json"):
                shutil.copyfile(file, out / file.name)
        (out / "MODEL_CARD.md").write_text(
            f"Fine-tuned from `{source.name}` on one repository with `python -m inference.training finetune`. The\n"
            "calibration in `infill.json` is still that of the model it came from; `python -m inference.training\n"
            "calibrate` fits it anew.\n"
        )
        rounded = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in self.model.checkpoint().items()}
        save_file(self.weights | rounded, out / "model.safetensors", metadata={"format": "pt"})


def _existing_parent(path: Path) -> Path:
    return next(folder for folder in path.resolve().parents if folder.is_dir())
