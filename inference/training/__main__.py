"""`python -m inference.training corpus|tokenizer|train|export|evaluate|card|all`: the recipe, one command each."""

import argparse
import json
import signal
from pathlib import Path

import torch

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training import evaluate as evaluation
from inference.training.architecture import dense_config
from inference.training.card import write_card
from inference.training.corpus import build, read_corpus
from inference.training.denoise import Sampling
from inference.training.examples import Pools, Sampler
from inference.training.export import DEFAULT_FOLDER, read_sampling, with_settings
from inference.training.export import export as write_checkpoint
from inference.training.tokenizer import infill_spec, load_tokenizer, save_tokenizer, tokenizer_texts, train_tokenizer
from inference.training.train import Recipe, Trainer

MAX_PROMPT_TOKENS = 448  # the longest prompt seen in training


def corpus(arguments: argparse.Namespace) -> None:
    """Fetch the packages of the manifest and write the two splits."""
    for split, sizes in build(arguments.cache).items():
        print(split, dict(sizes))


def tokenizer(arguments: argparse.Namespace) -> None:
    """Learn the tokenizer from the training split; writes it and a first `infill.json` into the run's folder."""
    learnt = train_tokenizer(tokenizer_texts(read_corpus(arguments.cache, "train"), arguments.seed))
    save_tokenizer(learnt, arguments.run)
    infill_spec(learnt, MAX_PROMPT_TOKENS, 0.0).save(arguments.run)


def train(arguments: argparse.Namespace) -> None:
    """Train, or go on training, up to `--steps`; SIGTERM saves and ends."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    spec = InfillSpec.load(arguments.run)
    recipe = Recipe(arguments.steps, seed=arguments.seed, compiled=arguments.compile)
    documents = Sampler(read_corpus(arguments.cache, "train"))
    pools = Pools(documents, load_tokenizer(arguments.run), spec, arguments.seed, canvases=recipe.canvases)
    model = DenseDiffusionGemma(dense_config(spec.noise_high)).bfloat16()
    Trainer(model, pools, recipe, arguments.run).run(stop=lambda: bool(stopped))


def export(arguments: argparse.Namespace) -> None:
    """Write the run's averaged weights to `--out`, with the given confidence floor."""
    spec = with_settings(InfillSpec.load(arguments.run), MAX_PROMPT_TOKENS, arguments.confidence_floor)
    write_checkpoint(arguments.run, arguments.out, spec, Sampling())


def evaluate(arguments: argparse.Namespace) -> None:
    """Fill held-out gaps with the checkpoint in `--out`; the report goes to `evaluation.json` in the run's folder."""
    documents = read_corpus(arguments.cache, "held_out")
    sampling = read_sampling(arguments.out)
    report = evaluation.evaluate(arguments.out, documents, sampling, arguments.gaps, arguments.seed)
    arguments.run.mkdir(parents=True, exist_ok=True)
    (arguments.run / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")
    print(evaluation.render(report))


def card(arguments: argparse.Namespace) -> None:
    """Write the model card from the run's log and its evaluation."""
    write_card(arguments.run, arguments.out, arguments.seed)


COMMANDS = {
    "corpus": corpus,
    "tokenizer": tokenizer,
    "train": train,
    "export": export,
    "evaluate": evaluate,
    "card": card,
}


def main() -> None:
    """Parse the command line and run one command, or all in order."""
    parser = argparse.ArgumentParser(prog="python -m inference.training", description=__doc__)
    parser.add_argument("command", choices=[*COMMANDS, "all"])
    parser.add_argument("--cache", type=Path, required=True, help="archives and corpus, outside of the repository")
    parser.add_argument("--run", type=Path, required=True, help="the run's state and log, outside of the repository")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="folder of the exported checkpoint")
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gaps", type=int, default=300, help="held-out gaps of each kind and language")
    parser.add_argument("--confidence-floor", type=float, default=1.0)
    parser.add_argument("--compile", action="store_true", help="compile the pointwise parts (needs a C++ compiler)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in COMMANDS if arguments.command == "all" else [arguments.command]:
        COMMANDS[name](arguments)


if __name__ == "__main__":
    main()
