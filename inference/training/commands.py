"""What each command of `python -m inference.training` does with its arguments."""

import argparse
import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training import cases as marking
from inference.training import evaluate as evaluation
from inference.training.architecture import SHAPES, dense_config, save_shape
from inference.training.call import CallSettings, default_workers, run_call
from inference.training.card import METRICS, write_card
from inference.training.corpus import MANIFEST, build, read_corpus
from inference.training.denoise import Sampling
from inference.training.examples import Pools, Sampler
from inference.training.export import export as write_run
from inference.training.export import model_of, read_sampling, with_settings, write_checkpoint
from inference.training.home import read_home
from inference.training.packed_train import LOG
from inference.training.shards import BESIDE, write_shards
from inference.training.tokenizer import infill_spec, load_tokenizer, save_tokenizer, tokenizer_texts, train_tokenizer
from inference.training.train import Recipe, Trainer

MAX_PROMPT_TOKENS = 448  # the longest prompt of the small shape's training


def corpus(arguments: argparse.Namespace) -> None:
    """Fetch the packages of the manifest and write the two splits."""
    for split, sizes in build(arguments.cache).items():
        print(split, dict(sizes))


def tokenizer(arguments: argparse.Namespace) -> None:
    """Learn the tokenizer from the training split; writes it and a first `infill.json` into the run's folder."""
    learn_tokenizer(arguments.cache, arguments.run, arguments.seed)


def learn_tokenizer(cache: Path, folder: Path, seed: int) -> None:
    """Learn it from the training split of a corpus and write it with a first `infill.json`."""
    learnt = train_tokenizer(tokenizer_texts(read_corpus(cache, "train"), seed))
    save_tokenizer(learnt, folder)
    infill_spec(learnt, MAX_PROMPT_TOKENS, 0.0).save(folder)
    shutil.copyfile(MANIFEST, folder / MANIFEST.name)  # what it learnt from, for the card


def train(arguments: argparse.Namespace) -> None:
    """Train on packed shards (`--data`) for `--minutes`, or on the corpus (`--cache`) up to `--steps`.

    Both go on where they were stopped; SIGTERM saves and ends.
    """
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    if arguments.data is not None:
        workers = default_workers(arguments.device) if arguments.workers is None else arguments.workers
        run_call(
            CallSettings(
                data=arguments.data, run=arguments.run, out=arguments.out, shape=arguments.shape,
                device=arguments.device, minutes=arguments.minutes, calls=arguments.calls, rows=arguments.rows,
                workers=workers, seed=arguments.seed, compiled=arguments.compile,
                distil_minutes=arguments.distil_minutes,
            ),
            stop=lambda: bool(stopped),
        )  # fmt: skip
        return
    if arguments.cache is None:
        raise ValueError("train needs --data (token shards) or --cache (the corpus)")
    spec = InfillSpec.load(arguments.run)
    recipe = Recipe(arguments.steps, seed=arguments.seed, compiled=arguments.compile)
    documents = Sampler(read_corpus(arguments.cache, "train"))
    pools = Pools(documents, load_tokenizer(arguments.run), spec, arguments.seed, canvases=recipe.canvases)
    model = DenseDiffusionGemma(dense_config(spec.noise_high)).bfloat16()
    Trainer(model, pools, recipe, arguments.run).run(stop=lambda: bool(stopped))


def export(arguments: argparse.Namespace) -> None:
    """Write the run's averaged weights to `--out`, with the given confidence floor."""
    spec = InfillSpec.load(arguments.run)
    spec = with_settings(spec, spec.max_prompt_tokens, arguments.confidence_floor)
    write_run(arguments.run, arguments.out, spec, Sampling())


def evaluate(arguments: argparse.Namespace) -> None:
    """Fill held-out gaps with the checkpoint in `--out`; the report goes to `evaluation.json` in the run's folder."""
    documents = read_corpus(arguments.cache, "held_out")
    sampling = read_sampling(arguments.out)
    report = evaluation.evaluate(arguments.out, documents, sampling, arguments.gaps, arguments.seed)
    arguments.run.mkdir(parents=True, exist_ok=True)
    (arguments.run / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")
    print(evaluation.render(report))


def cases(arguments: argparse.Namespace) -> None:
    """Mark gaps in packages of a split, for `lacuna bench gaps`."""
    total = marking.write(read_corpus(arguments.cache, arguments.split), arguments.gaps, arguments.seed, arguments.out)
    print(f"{arguments.out}: {total} gaps")


def card(arguments: argparse.Namespace) -> None:
    """Write the model card from the run's log and its evaluation."""
    write_card(arguments.run, arguments.out, arguments.seed)


def pack(arguments: argparse.Namespace) -> None:
    """Write both splits of a corpus as token shards, with the tokenizer that they are spelt in."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.run is None:
        learn_tokenizer(arguments.cache, arguments.out, arguments.seed)
    source = arguments.run or arguments.out
    documents, held_out = read_corpus(arguments.cache, "train"), read_corpus(arguments.cache, "held_out")
    print(json.dumps(write_shards(documents, held_out, source, arguments.out, arguments.seed), indent=1))


def assemble(arguments: argparse.Namespace) -> None:
    """Make a checkpoint folder of weights that came back from training."""
    if arguments.out.exists() and any(arguments.out.iterdir()):
        raise FileExistsError(f"{arguments.out} is not empty; name another folder")
    weights, index = read_home(arguments.data)
    shape = SHAPES[index["shape"]["shape"]]
    spec = InfillSpec.load(arguments.tokenizer)
    spec = replace(spec, max_prompt_tokens=shape.max_prompt_tokens, confidence_floor=arguments.confidence_floor)
    model = model_of({name: tensor.float() for name, tensor in weights.items()}, spec.noise_high, shape)
    write_checkpoint(model, shape, arguments.tokenizer, arguments.out, spec, Sampling())
    print(f"{arguments.out}: {sum(p.numel() for p in model.parameters()):,} parameters")
    if arguments.run is not None:
        save_shape(shape, arguments.run)
        (arguments.run / METRICS).write_text(json.dumps(index["metrics"], indent=1) + "\n")
        metrics = arguments.data / METRICS
        lines = json.loads(metrics.read_text())["log"] if metrics.exists() else []
        (arguments.run / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
        for name in (*BESIDE, MANIFEST.name):
            if (arguments.tokenizer / name).exists():
                shutil.copyfile(arguments.tokenizer / name, arguments.run / name)


def finetune(arguments: argparse.Namespace) -> None:
    """Go on from a checkpoint on the user's own repository, or write a dataset of it."""
    from inference.training import finetuning

    finetuning.finetune(arguments)


def calibrate(arguments: argparse.Namespace) -> None:
    """Fit how probable it is that a proposal or a fill is right, and write that into the checkpoint's `infill.json`."""
    from inference.checkpoint import load_checkpoint
    from inference.training import score_calibration

    checkpoint = load_checkpoint(arguments.out, lambda *_: None)
    score_calibration.run(
        checkpoint,
        arguments.out,
        (arguments.cases, arguments.held_out),
        precision=arguments.precision,
        limit=arguments.gaps,
        canvases=arguments.canvases,
    )
