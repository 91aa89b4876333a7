"""The command ``lacuna``. Each command is a module of ``lsp_server.commands``; this one only picks it.

Exit codes: 0 done, 1 a check found something, 2 usage, 3 could not (one line on stderr says why).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from lsp_server.commands.errors import CommandError

COMMANDS = ("serve", "complete", "worker", "model", "bench", "doctor")


def main(argv: list[str] | None = None) -> NoReturn:
    """Run ``lacuna ARGUMENTS`` and leave with its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Parse and run one command; returns the exit code instead of leaving."""
    options = _parser(arguments).parse_args(arguments)
    try:
        return int(options.run(options))
    except CommandError as error:
        print(f"lacuna: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; nobody is there to hear of it
        return 0


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lacuna", description="Fills gaps in text with a text-diffusion model.")
    parser.add_argument("--version", action="version", version=f"lacuna {_version()}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # The chosen command alone is imported: `lacuna serve` must answer an editor within 0.6 s.
    chosen = next((name for name in arguments if name in COMMANDS), None)
    for name in [chosen] if chosen else COMMANDS:
        importlib.import_module(f"lsp_server.commands.{name}").add_parser(subparsers)
    return parser


def _version() -> str:
    try:
        return version("lacuna-lsp")
    except PackageNotFoundError:
        return "(not installed)"
