"""Markdown rows for the README's performance section: ``python -m tests.benchmarks.table [NAME ...]``.

Runs the benchmarks that it is given, else all, one after the other; nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Callable, Iterator

from lsp_server.bench.figures import percentile
from lsp_server.bench.recording import DEFAULT, read_recording
from lsp_server.bench.replay import Replay
from lsp_server.bench.report import latency_report
from lsp_server.options import Options

Rows = Iterator[tuple[str, str, str]]
"""What was measured, the figure, the command that measures it again."""


def start() -> Rows:
    """Process start to ``initialize`` answered."""
    from tests.benchmarks.start_time import start_once

    runs = [start_once().wall_s for _ in range(10)]
    figure = f"median {statistics.median(runs):.2f} s, worst {max(runs):.2f} s of {len(runs)}"
    yield "`lacuna serve`: process start to `initialize` answered", figure, "tests.benchmarks.start_time 10"


def keystroke() -> Rows:
    """The server's own cost of a key."""
    from tests.benchmarks.keystroke import measure

    first, costs = asyncio.run(measure())
    times = (f"p50 {percentile(one, 50):.1f} ms, p99 {percentile(one, 99):.1f} ms" for one in (costs.busy, costs.wall))
    figure = f"processor {next(times)}; wall {next(times)}; first key {first:.0f} ms"
    what = "the server's own cost of a key, 10,000-line Python file, 84 files beside it, context snippets on, no model"
    yield what, figure, "tests.benchmarks.keystroke"


def type_through() -> Rows:
    """Suggestions typed along: what a key costs that the cache answers, and what 10,000 others leave behind."""
    from tests.benchmarks.type_through import held, hits

    spent, _ = asyncio.run(hits())
    figure = f"p50 {percentile(spent, 50):.2f} ms, p99 {percentile(spent, 99):.2f} ms"
    what = "a key along a suggestion, 10,000-line Python file: the whole answer, no model asked"
    yield what, figure, "tests.benchmarks.type_through"
    samples = asyncio.run(held())
    first, second = (max(half) / 1e6 for half in (samples[: len(samples) // 2], samples[len(samples) // 2 :]))
    what = "memory that Python holds at most while 10,000 keys are typed off every suggestion"
    figure = f"{first:.1f} MB in the first half, {second:.1f} MB in the second"
    yield what, figure, "tests.benchmarks.type_through"


def encode() -> Rows:
    """What one typed token costs the encoder."""
    from tests.benchmarks.encode import LENGTHS, measure_all

    medians = measure_all()
    (cold, typed, _), (cold_short, typed_short, _) = medians[LENGTHS[-1]], medians[LENGTHS[0]]
    what = f"encoding the prompt when one token was typed, {LENGTHS[-1]:,} tokens against {LENGTHS[0]}"
    figure = f"{typed:.1f} ms against {typed_short:.1f} ms: x {typed / typed_short:.2f}"
    yield what, figure, "tests.benchmarks.encode"
    yield "the same from scratch", f"{cold:.0f} ms against {cold_short:.0f} ms", "tests.benchmarks.encode"


def serve() -> Rows:
    """Prompt tokens out of the cache, and the time to an answer, through the real server."""
    from tests.benchmarks.serve import AUTOMATIC, INVOKED, WARM, measure, room, summary

    for kind, name, option in ((INVOKED, "asked for at every key", " --invoked"), (AUTOMATIC, "as editors ask", "")):
        with room() as folder:
            found = summary(asyncio.run(measure(folder, kind=kind)))
        what = f"200 recorded keys in a 10,000-line file through `lacuna serve`, {name}"
        cached = f"cached >= {WARM:.0%} at {found['warm']} of {found['asked']} keys, least {found['least_cached']:.1%}"
        times = f"key to answer p50 {found['answer_ms']['p50']:.0f} ms, p95 {found['answer_ms']['p95']:.0f} ms"
        yield what, f"{cached}; {times}", f"tests.benchmarks.serve{option}"


def latency() -> Rows:
    """Recorded typing in its own time, as ``lacuna bench latency`` does."""
    from lsp_server.commands.ready_worker import ready_worker
    from tests.benchmarks.serve import room

    recording = read_recording(DEFAULT)

    async def typed() -> dict[str, dict[str, float]]:
        async with ready_worker(None) as client:
            report = latency_report(len(recording.keys), await Replay(recording, client, Options()).run())
        return {"key to answer": report["latency_ms"], **report["stages_ms"]}

    with room():
        stages = asyncio.run(typed())
    figure = "; ".join(f"{name} p50 {times['p50']:.0f}, p95 {times['p95']:.0f}" for name, times in stages.items())
    yield "recorded typing, milliseconds by stage", figure, "lacuna bench latency"


_ALL = (start, keystroke, type_through, encode, serve, latency)
BENCHMARKS: dict[str, Callable[[], Rows]] = {one.__name__: one for one in _ALL}


def main() -> int:
    """Print the rows as they are measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.table", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    print("| what | figure | command |\n|---|---|---|")
    for name in names:
        for what, figure, command in BENCHMARKS[name]():
            command = command if command.startswith("lacuna") else f"python -m {command}"
            print(f"| {what} | {figure} | `{command}` |", flush=True)
    print(f"\n{os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} at the end", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
