r"""What a denoising step costs: ours, eager and as a CUDA graph, transformers' own, and the memory floor, in one run.

With random weights, so that no checkpoint is needed. A variant that fails says why in its line and stops nothing. On a
GPU of 80 GB or more two runs, each under ten minutes, tell all; the first ours, the second ours beside transformers'::

    python -m inference.bench.steps --shape 26b-a4b --variants ours,ours_graph,lean,graph --precision bf16,fp8 \
        --canvas 32,64,256 --batch 1,4,8 --budget 540 --json steps-ours.json
    python -m inference.bench.steps --shape 26b-a4b --variants ours,ours_graph,decoder,generate \
        --experts grouped_mm,eager --compiled 64x1,256x1 --canvas 64,256 --batch 1,4 --budget 540 \
        --json steps-theirs.json
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from inference.bench.case import Case, Scene
from inference.bench.clock import Clock
from inference.bench.random_model import SHAPES, read_shape
from inference.bench.report import Report
from inference.bench.runner import OURS, THEIRS, Plan, Runner
from inference.models.linear import Precision

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
PRECISIONS = {"bfloat16": Precision.BF16, "float32": Precision.FP32}
VARIANTS = (*OURS, *THEIRS)
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
        random = torch.Generator(device).manual_seed(arguments.seed)
    except (RuntimeError, AssertionError) as error:
        print(f"steps: {arguments.device} cannot be used: {str(error).splitlines()[0]}", file=sys.stderr)
        return 3
    clock = Clock(device, runs=arguments.runs, limit_s=arguments.measure_s)
    scene = Scene(clock, arguments.prompt, arguments.steps, config.text_config.vocab_size, random)
    runner = Runner(
        report,
        config,
        scene,
        DTYPES[arguments.dtype],
        until=started + arguments.budget,
        variant_s=arguments.variant_budget,
        seed=arguments.seed,
    )
    plan = Plan(
        cases=[Case(canvas, batch) for batch in arguments.batch for canvas in arguments.canvas],
        variants=arguments.variants,
        precisions=arguments.precision or [PRECISIONS[arguments.dtype].value],
        experts=arguments.experts,
        compiled=arguments.compiled,
    )
    runner.run(plan)
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
    kept = tuple(Precision)
    parser.add_argument("--precision", type=_names(kept), metavar="NAME,...", help=f"of our weights: {', '.join(kept)}")
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
