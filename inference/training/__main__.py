"""`python -m inference.training COMMAND`: the recipe, one command each.

`all` runs corpus, tokenizer, train, export, evaluate and card in order, for a machine without a GPU. With a GPU:
corpus and pack at home, `train --data` there, then assemble, evaluate and card at home.
"""

import argparse
import sys

from inference.errors import EngineError
from inference.training import commands
from inference.training.arguments import parse

COMMANDS = {
    "corpus": commands.corpus,
    "tokenizer": commands.tokenizer,
    "train": commands.train,
    "export": commands.export,
    "evaluate": commands.evaluate,
    "card": commands.card,
    "cases": commands.cases,
    "pack": commands.pack,
    "assemble": commands.assemble,
    "finetune": commands.finetune,
    "calibrate": commands.calibrate,
}
ALL = ("corpus", "tokenizer", "train", "export", "evaluate", "card")


def main() -> int:
    """Parse the command line and run one command, or all in order; bad input is one sentence and exit code 2."""
    import torch

    arguments: argparse.Namespace = parse(sys.argv[1:])
    if getattr(arguments, "threads", None):
        torch.set_num_threads(arguments.threads)
    try:
        for name in ALL if arguments.command == "all" else [arguments.command]:
            COMMANDS[name](arguments)
    except (ValueError, FileNotFoundError, FileExistsError, EngineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
