"""``lacuna bench steps|infilling|gaps|latency``: what a model costs and what it is worth, on this machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from inference.protocol import InfillRequest, Masked, ProtocolError
from lsp_server.commands.errors import CommandError
from lsp_server.commands.model_options import add_model_options, model_choice
from lsp_server.commands.ready_worker import ready_worker
from lsp_server.worker_client import WorkerClient

_T = TypeVar("_T")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("bench", help="measure a model: its steps, its fills, its answers while typing")
    actions = parser.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    # No option of its own, not even --help: all of them are those of the process that it starts.
    steps = actions.add_parser("steps", help="what a denoising step costs", prefix_chars="\0", add_help=False)
    steps.add_argument("arguments", nargs="*")
    steps.set_defaults(run=_steps)

    common = argparse.ArgumentParser(add_help=False)
    add_model_options(common)
    common.add_argument("--json", action="store_true", help="print one JSON object")

    infilling = actions.add_parser("infilling", parents=[common], help="how many gaps it fills so that tests pass")
    infilling.add_argument(
        "--data", type=Path, required=True, metavar="FILE.jsonl[.gz]", help="HumanEval(-Infilling)'s"
    )
    infilling.add_argument("--limit", type=_positive, metavar="N", help="only the first N gaps")
    infilling.add_argument("--gate", action="store_true", help="precision and coverage of confidence floors")
    infilling.add_argument("--editor", action="store_true", help="as editors ask: the syntax's gap, and the filters")
    infilling.add_argument("--max-tokens", type=_positive, default=64, metavar="N", help="of a gap (default: 64)")
    infilling.add_argument("--candidates", type=_positive, default=1, metavar="N", help="take the surest (default: 1)")
    infilling.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    infilling.add_argument("--test-limit", type=float, default=5.0, metavar="SECONDS", help="of one program")
    infilling.set_defaults(run=_infilling)

    gaps = actions.add_parser("gaps", parents=[common], help="what it shows in unseen projects, and how much is right")
    gaps.add_argument("--data", type=Path, required=True, metavar="FILE.jsonl", help="projects with gaps marked")
    gaps.add_argument("--limit", type=_positive, metavar="N", help="only the first N gaps of each kind and language")
    gaps.add_argument("--alone", action="store_true", help="read no other file of the project")
    gaps.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    gaps.set_defaults(run=_gaps)

    latency = actions.add_parser("latency", parents=[common], help="how fast it answers somebody who types")
    latency.add_argument("--keys", type=Path, metavar="FILE", help="recorded typing (default: one that comes along)")
    latency.add_argument("--speed", type=float, default=1.0, metavar="X", help="type that many times as fast")
    latency.set_defaults(run=_latency)


def _steps(arguments: argparse.Namespace) -> int:
    # Another process: this one never loads torch.
    command = [sys.executable, "-P", "-m", "inference.bench.steps", *arguments.arguments]
    try:
        return 3 if (code := subprocess.call(command)) not in (0, 2) else code
    except OSError as error:
        raise CommandError(f"{sys.executable} cannot be started: {error.strerror}") from None


def _infilling(arguments: argparse.Namespace) -> int:
    from lsp_server.bench.infilling import EditorFiller, Filler, ModelFiller, Outcome, fill_all
    from lsp_server.bench.problem import BadProblems, read_problems
    from lsp_server.bench.progress import progress
    from lsp_server.bench.report import infilling_report, infilling_tables

    if sys.platform == "win32":
        raise CommandError("the programs that a model writes cannot be limited on Windows; run it in WSL")
    if not arguments.test_limit > 0:
        raise CommandError("--test-limit must be greater than 0", exit_code=2)
    try:
        InfillRequest(segments=(Masked(arguments.max_tokens),), n=arguments.candidates, seed=arguments.seed)
    except ProtocolError as error:
        raise CommandError(str(error), exit_code=2) from None
    try:
        problems = read_problems(arguments.data, arguments.limit)
    except BadProblems as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{arguments.data} cannot be read: {error.strerror or error}") from None

    async def fill(client: WorkerClient) -> list[Outcome]:
        filler: Filler = ModelFiller(client, arguments.max_tokens, arguments.candidates, arguments.seed)
        if arguments.editor:
            filler = EditorFiller(client, arguments.candidates, arguments.seed)
        with progress("pass@1", len(problems)) as advance:
            judged = passed = 0

            def done(outcome: Outcome) -> None:
                nonlocal judged, passed
                judged, passed = judged + 1, passed + outcome.passed
                advance(f"pass@1 {passed / judged:.3f}")

            return await fill_all(problems, filler, limit_s=arguments.test_limit, done=done)

    outcomes, worker = _with_worker(arguments, fill)
    report = worker | infilling_report(outcomes, gate=arguments.gate)
    if arguments.json:
        _print_json(report | {"outcomes": [asdict(outcome) for outcome in outcomes]})
    else:
        Console().print(f"{worker['model']} on {worker['device']}", infilling_tables(report), sep="\n")
    return 0


def _gaps(arguments: argparse.Namespace) -> int:
    from lsp_server.bench.held_out import limited, read_project_files
    from lsp_server.bench.problem import BadProblems
    from lsp_server.bench.progress import progress
    from lsp_server.bench.showing import DEADLINE_MS, Asker, Showing
    from lsp_server.bench.showing_report import showing_markdown, showing_report
    from lsp_server.options import Options

    try:
        files = limited(read_project_files(arguments.data), arguments.limit)
    except BadProblems as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{arguments.data} cannot be read: {error.strerror or error}") from None

    async def ask(client: WorkerClient) -> list[Showing]:
        asker = Asker(client, Options(confidence_floor=0.0, deadline_ms=DEADLINE_MS), arguments.seed, arguments.alone)
        with progress("exact", sum(len(file.gaps) for file in files)) as advance:
            asked = exact = 0

            def done(showing: Showing) -> None:
                nonlocal asked, exact
                asked, exact = asked + 1, exact + showing.passed
                advance(f"exact {exact / asked:.3f}")

            return await asker.ask(files, done)

    showings, worker = _with_worker(arguments, ask)
    report = worker | showing_report(showings)
    if arguments.json:
        _print_json(report | {"showings": [asdict(one) for one in showings]})
    else:
        print(f"{worker['model']} on {worker['device']}\n\n{showing_markdown(report)}")
    return 0


def _latency(arguments: argparse.Namespace) -> int:
    from lsp_server.bench.progress import progress
    from lsp_server.bench.recording import DEFAULT, BadRecording, read_recording
    from lsp_server.bench.replay import Replay
    from lsp_server.bench.report import latency_report, latency_table
    from lsp_server.options import Options

    path = arguments.keys or DEFAULT
    try:
        recording = read_recording(path)
    except BadRecording as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror or error}") from None
    if not arguments.speed > 0:
        raise CommandError("--speed must be greater than 0", exit_code=2)

    async def type_again(client: WorkerClient) -> dict[str, Any]:
        with progress("typing", len(recording.keys)) as advance:
            replay = Replay(recording, client, Options(), speed=arguments.speed)
            answers = await replay.run(lambda key: advance(""))
        return latency_report(len(recording.keys), answers, replay.requests)

    figures, worker = _with_worker(arguments, type_again)
    report = worker | figures
    if arguments.json:
        _print_json(report)
    else:
        Console().print(f"{worker['model']} on {worker['device']}", latency_table(report), sep="\n")
    return 0


def _with_worker(
    arguments: argparse.Namespace, work: Callable[[WorkerClient], Awaitable[_T]]
) -> tuple[_T, dict[str, str]]:
    """Run ``work`` with a worker whose model is loaded; its result, and what worker that was."""

    async def run() -> tuple[_T, dict[str, str]]:
        async with ready_worker(**model_choice(arguments)) as client:
            health = client.health
            return await work(client), {"model": health.model, "engine": health.engine, "device": health.device}

    return asyncio.run(run())


def _print_json(report: dict[str, Any]) -> None:
    """JSON knows no NaN: a figure of nothing is null."""
    print(json.dumps(_finite(report), ensure_ascii=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
