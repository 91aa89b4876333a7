"""What a denoising step costs: ours, the bare decoder, transformers' own, and the memory floor, in one run.

``python -m inference.bench.steps --shape 26b-a4b --json steps.json``, with random weights, so that no checkpoint is
needed. A variant that fails says why in its line and stops nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from inference.bench.clock import Clock
from inference.bench.random_model import SHAPES, random_model, read_shape
from inference.bench.report import Report
from inference.bench.runner import Runner
from inference.bench.variants import Case, Variants

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
VARIANTS = ("decoder", "ours", "generate", "graph", "ours_graph")
EXPERTS = ("grouped_mm", "eager", "batched_mm")


def main(argv: list[str] | None = None) -> int:
    """Measure as the arguments say; 2 when the shape cannot be used, 3 when the device cannot."""
    arguments = _parser().parse_args(argv)
    started = time.monotonic()
    try:
        config = read_shape(arguments.shape)
    except (OSError, ValueError, TypeError) as error:
        print(f"steps: {arguments.shape} is no shape: {error}", file=sys.stderr)
        return 2
    report = Report(arguments.json)
    report.note(shape=arguments.shape, dtype=arguments.dtype, prompt_tokens=arguments.prompt, steps=arguments.steps)
    try:
        device = torch.device(arguments.device)
        report.note(torch=torch.__version__, transformers=transformers.__version__, device=_entered(device))
        model = random_model(config, device, DTYPES[arguments.dtype], seed=arguments.seed)
    except (RuntimeError, AssertionError, MemoryError) as error:
        print(f"steps: {arguments.device} cannot be used: {str(error).splitlines()[0]}", file=sys.stderr)
        return 3
    report.note(model_gb=round(sum(weight.nbytes for weight in model.parameters()) / 1e9, 2))
    clock = Clock(device, runs=arguments.runs, limit_s=arguments.measure_s)
    variants = Variants(model, clock, prompt_tokens=arguments.prompt, steps=arguments.steps, seed=arguments.seed)
    runner = Runner(report, variants, clock, until=started + arguments.budget, variant_s=arguments.variant_budget)
    cases = [Case(canvas, batch) for batch in arguments.batch for canvas in arguments.canvas]
    runner.run(cases, arguments.variants, arguments.experts, arguments.compiled)
    report.note(seconds=round(time.monotonic() - started, 1))
    return 0


def _entered(device: torch.device) -> str:
    """Make it the current device, where there are several; its name."""
    if device.type != "cuda":
        return f"{torch.get_num_threads()} CPU threads"
    name = torch.cuda.get_device_name(device)
    torch.cuda.set_device(device)
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lacuna bench steps", description="What a denoising step costs, and how far that is from the memory floor."
    )
    default_device = "cuda:0" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--shape", default="tiny", help=f"{', '.join(SHAPES)}, or a checkpoint's config.json")
    parser.add_argument("--canvas", type=_numbers, default=[32, 64, 256], metavar="C,...", help="canvas lengths")
    parser.add_argument("--batch", type=_numbers, default=[1, 4, 8], metavar="B,...", help="canvases side by side")
    parser.add_argument("--prompt", type=int, default=512, metavar="N", help="prompt tokens (default: 512)")
    parser.add_argument("--steps", type=int, default=12, metavar="N", help="steps of each run (default: 12)")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--device", default=default_device, help=f"where (default: {default_device})")
    parser.add_argument(
        "--experts", type=_names(EXPERTS), default=["grouped_mm"], metavar="NAME,...", help=str(EXPERTS)
    )
    parser.add_argument("--variants", type=_names(VARIANTS), default=list(VARIANTS), metavar="NAME,...")
    parser.add_argument("--compiled", type=_cases, default=[], metavar="CxB,...", help="cases to compile too: 64x1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results there, row by row")
    parser.add_argument("--budget", type=float, default=480.0, metavar="SECONDS", help="of the whole run")
    parser.add_argument("--variant-budget", type=float, default=150.0, metavar="SECONDS", help="of one line")
    parser.add_argument("--measure-s", type=float, default=2.0, metavar="SECONDS", help="of repeating one measurement")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="repeat at most that often")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _cases(text: str) -> list[Case]:
    pairs = (part.split("x") for part in text.split(",") if part)
    return [Case(int(canvas), int(batch)) for canvas, batch in pairs]


def _names(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        chosen = [part for part in text.split(",") if part]
        if unknown := sorted(set(chosen) - set(known)):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not among {', '.join(known)}")
        return chosen

    return names


if __name__ == "__main__":
    sys.exit(main())
