"""Steps and time with and without warm starts, key by key: ``python -m tests.benchmarks.warm_start``.

The default model answers after every key: while a recording is replayed, while somebody types the very text that the
model has offered, and while somebody types what stands in the samples. Every case runs twice, once with the document
named, so that the last answer warms the next canvas, and once without; both with the same seeds.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from inference.checkpoint import EMBEDDED
from inference.engines.local import LocalEngine
from inference.protocol import Fixed, InfillRequest, InfillResult, Masked
from lsp_server.bench.recording import read_recording
from lsp_server.syntax.languages import language_id_of

DATA = Path(__file__).parent.parent / "data"
GAP_TOKENS = 24
KEYS = 12
"""Of each text that is typed, at most."""


@dataclass(frozen=True)
class Site:
    """A cursor, the text on either side of it, and what is typed next."""

    language_id: str
    prefix: str
    suffix: str
    rest: str


def recorded() -> Iterator[Site]:
    """The cursor after every key of the recording."""
    recording = read_recording(DATA / "typing/cart.json")
    text = recording.text
    for number, key in enumerate(recording.keys, 1):
        text = text[: key.at] + key.insert + text[key.at + key.delete :]
        at = key.at + len(key.insert)
        rest = "".join(later.insert for later in recording.keys[number:])
        yield Site(recording.language_id, text[:at], text[at:], rest)


def samples() -> Iterator[Site]:
    """The gap of every sample, and what a person would write there."""
    for entry in json.loads((DATA / "samples/samples.json").read_text()):
        text = (DATA / "samples" / entry["file"]).read_text()
        line, column = map(int, entry["at"].split(":"))
        at = sum(len(row) + 1 for row in text.split("\n")[: line - 1]) + column - 1
        language_id = language_id_of(Path(entry["file"])) or "plaintext"
        yield Site(language_id, text[:at], text[at:], entry["person_would_write"])


def typed(site: Site) -> list[Site]:
    """The cursor before, and after each of the first keys of the rest."""
    return [
        replace(site, prefix=site.prefix + site.rest[:end], rest=site.rest[end:])
        for end in range(min(KEYS, len(site.rest)))
    ]


def answers(engine: LocalEngine, sites: Iterable[Site], document: str | None) -> list[InfillResult]:
    return [
        engine.infill(
            InfillRequest(
                segments=(Fixed(site.prefix), Masked(GAP_TOKENS), Fixed(site.suffix)),
                language_id=site.language_id,
                document=document,
                seed=0,
            )
        )
        for site in sites
    ]


def figures(sites: Sequence[Site], cold: Sequence[InfillResult], warm: Sequence[InfillResult]) -> Iterator[str]:
    """Of the keys at which an earlier answer was there to start from: how many; then steps, ms, and hits, cold and
    warm. A hit begins as the person goes on, for three characters."""
    cases = [case for case in zip(sites, cold, warm, strict=True) if case[2].usage.warm_tokens]
    yield f"{len(cases)} of {len(sites)}"
    places, *sides = zip(*cases, strict=True)
    yield from (f"{statistics.mean(result.usage.denoising_steps for result in side):.2f}" for side in sides)
    yield from (f"{statistics.median(result.timings_ms.denoise for result in side):.0f}" for side in sides)
    for side in sides:
        hits = [result.choices[0].fills[0].text[:3] == site.rest[:3] for site, result in zip(places, side, strict=True)]
        yield f"{statistics.mean(hits):.0%}"


def main() -> None:
    """Print one line per way of typing."""
    engine = LocalEngine(EMBEDDED)
    engine.load(lambda progress, message: None)
    console, table = Console(), Table("typing", "warm keys")
    for name in ("steps cold", "warm", "ms cold", "warm", "hits cold", "warm"):
        table.add_column(name, justify="right", no_wrap=True)
    offered = [
        replace(site, rest=answer.choices[0].fills[0].text)
        for site in samples()
        for answer in answers(engine, [site], None)
    ]
    sessions = {"recorded": [list(recorded())], "the offer": map(typed, offered), "the samples": map(typed, samples())}
    for name, runs in sessions.items():
        sites, cold, warm = list[Site](), list[InfillResult](), list[InfillResult]()
        for number, run in enumerate(track(list(runs), name, console=Console(stderr=True), transient=True)):
            sites += run
            cold += answers(engine, run, None)
            warm += answers(engine, run, f"{name} {number}")
        table.add_row(name, *figures(sites, cold, warm))
    console.print(table)


if __name__ == "__main__":
    main()
