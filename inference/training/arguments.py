"""The command line of `python -m inference.training`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from inference.training.architecture import SHAPES
from inference.training.call import default_device
from inference.training.export import DEFAULT_FOLDER


def parse(line: Sequence[str]) -> argparse.Namespace:
    """The arguments of one command; `command` names it."""
    parser = argparse.ArgumentParser(prog="python -m inference.training", description="Train the embedded checkpoint.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("corpus", "tokenizer", "export", "evaluate", "card", "all", "train"):
        _recipe(commands.add_parser(name), data_instead=name == "train")
    cases = commands.add_parser("cases", help="mark gaps in the held-out packages, for `lacuna bench gaps`")
    cases.add_argument("--cache", type=Path, required=True)
    cases.add_argument("--out", type=Path, required=True, help="a JSON Lines file")
    cases.add_argument("--split", choices=("held_out", "train"), default="held_out")
    cases.add_argument("--gaps", type=int, default=300, help="of each kind and language")
    cases.add_argument("--seed", type=int, default=0)
    pack = commands.add_parser("pack", help="write the corpus as token shards that can travel")
    pack.add_argument("--cache", type=Path, required=True)
    pack.add_argument("--run", type=Path, help="folder of the tokenizer (by default it is learnt into --out)")
    pack.add_argument("--out", type=Path, required=True)
    pack.add_argument("--seed", type=int, default=0)
    assemble = commands.add_parser("assemble", help="make a checkpoint folder of the files that came back")
    assemble.add_argument("--data", type=Path, required=True, help="folder with weights.json and its shards")
    assemble.add_argument("--tokenizer", type=Path, required=True, help="folder of the tokenizer: what `pack` wrote")
    assemble.add_argument("--out", type=Path, required=True)
    assemble.add_argument("--run", type=Path, help="also leave the log there, for `card`")
    assemble.add_argument("--confidence-floor", type=float, default=1.0)
    _finetune(commands.add_parser("finetune", help="go on from the default model on your own repository"))
    _calibrate(commands.add_parser("calibrate", help="fit how probable it is that a text for a gap is right"))
    return parser.parse_args(line)


def _calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=Path, required=True, help="JSON lines: gaps with their text and proposals")
    parser.add_argument("--held-out", type=Path, required=True, help="cases of other packages, for the report")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="folder of the checkpoint")
    parser.add_argument("--precision", type=float, default=0.7, help="share of what is shown that shall be right")
    parser.add_argument("--gaps", type=int, help="how many cases of each file; default: all")
    parser.add_argument("--canvases", type=int, help="how many of them are also denoised; default: all")
    parser.add_argument("--threads", type=int, default=2)


def _recipe(parser: argparse.ArgumentParser, data_instead: bool) -> None:
    parser.add_argument(
        "--cache", type=Path, required=not data_instead, help="archives and corpus, outside of the repo"
    )
    parser.add_argument("--run", type=Path, required=True, help="the run's state and log, outside of the repository")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="folder of the exported checkpoint")
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gaps", type=int, default=300, help="held-out gaps of each kind and language")
    parser.add_argument("--confidence-floor", type=float, default=1.0)
    parser.add_argument("--compile", action="store_true", help="on a CPU the pointwise parts only (needs a compiler)")
    if data_instead:
        parser.add_argument("--data", type=Path, help="token shards: packed training, planned in minutes")
        parser.add_argument("--device", choices=("cpu", "cuda"), default=default_device())
        parser.add_argument("--shape", choices=list(SHAPES), default="medium")
        parser.add_argument("--minutes", type=float, default=9.0, help="of this call, loading included")
        parser.add_argument("--calls", type=int, default=1, help="of the whole run, each with the same command")
        parser.add_argument("--rows", type=int, default=48, help="packed rows in one step")
        parser.add_argument("--workers", type=int, help="processes that make batches")
        parser.add_argument("--distil-minutes", type=float, default=0.0, help="of the last call, for fewer steps")


def _finetune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=DEFAULT_FOLDER, help="checkpoint folder to go on from")
    parser.add_argument("--out", type=Path, help="checkpoint folder to write; it must not be there yet")
    parser.add_argument("--dataset", type=Path, help="write a chat dataset for DiffusionGemma LoRA instead")
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default_device())
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--gaps", type=int, default=60, help="held-out gaps filled before and after")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
