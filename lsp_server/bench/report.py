"""What the benchmarks say, as JSON and as tables for people."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from inference.protocol import Priority
from lsp_server.bench.calibration import confidence_curve, gates
from lsp_server.bench.figures import percentile, share
from lsp_server.bench.infilling import Outcome
from lsp_server.bench.replay import Answer
from lsp_server.typing.flights import Source


def infilling_report(outcomes: Sequence[Outcome], *, gate: bool) -> dict[str, Any]:
    """Figures of ``lacuna bench infilling``; shares are 0..1, times milliseconds."""
    asked = [one.steps for one in outcomes if one.steps]
    report: dict[str, Any] = {
        "gaps": len(outcomes),
        "pass_at_1": share(sum(one.passed for one in outcomes), len(outcomes)),
        "exact_match": share(sum(one.exact for one in outcomes), len(outcomes)),
        "mean_steps": statistics.fmean(asked) if asked else 0.0,
        "latency_ms": _latency([one.ms for one in outcomes]),
        "confidence_floor": max((one.floor for one in outcomes), default=0.0),
        "confidence_curve": [asdict(band) for band in confidence_curve(outcomes)],
    }
    if gate:
        report["gate"] = [asdict(one) for one in gates(outcomes)]
    return report


def infilling_tables(report: dict[str, Any]) -> RenderableType:
    """The same for people."""
    figures = _figures(
        ("gaps", str(report["gaps"])),
        ("pass@1", f"{report['pass_at_1']:.3f}"),
        ("exact match", f"{report['exact_match']:.3f}"),
        ("denoising steps, mean", f"{report['mean_steps']:.1f}"),
        ("time to answer", _times(report["latency_ms"])),
        ("the model's confidence floor", f"{report['confidence_floor']:.2f}"),
    )
    curve = Table("confidence", "gaps", "pass@1", title="confidence curve")
    for band in report["confidence_curve"]:
        curve.add_row(f"{band['low']:.1f} to {band['high']:.1f}", str(band["gaps"]), f"{band['passed']:.3f}")
    tables: list[RenderableType] = [figures, curve]
    if "gate" in report:
        gate = Table("speak from", "coverage", "precision", title="with a floor")
        for one in report["gate"]:
            gate.add_row(f"{one['threshold']:.2f}", f"{one['coverage']:.3f}", f"{one['precision']:.3f}")
        tables.append(gate)
    return Group(*tables)


def latency_report(
    keys: int, answers: Sequence[Answer], requests: Mapping[Priority, int] = MappingProxyType({})
) -> dict[str, Any]:
    """Figures of ``lacuna bench latency``; shares are 0..1, times milliseconds from the key, debounce included.

    ``requests`` is how often the model was asked, for whatever came of it.
    """
    asked = [(one, one.result) for one in answers if one.result is not None]
    usages = [result.usage for _, result in asked]
    return {
        "keys": keys,
        "overtaken": keys - len(answers),
        "asked": len(asked),
        "spoke": sum(not one.silence for one in answers),
        "from_cache": sum(one.source is Source.CACHE for one in answers),
        "from_flight": sum(one.source is Source.FLIGHT for one in answers),
        "requests": {priority.value: requests.get(priority, 0) for priority in Priority},
        "shown_ms": _latency([one.ms for one in answers if not one.silence]),
        "latency_ms": _latency([one.ms for one, _ in asked]),
        "stages_ms": {
            "debounce": _latency([one.debounce_ms for one, _ in asked]),
            "queue": _latency([result.timings_ms.queue for _, result in asked]),
            "encode": _latency([result.timings_ms.encode for _, result in asked]),
            "denoise": _latency([result.timings_ms.denoise for _, result in asked]),
            "elsewhere": _latency([one.ms - one.debounce_ms - result.timings_ms.total for one, result in asked]),
        },
        "mean_steps": statistics.fmean(usage.denoising_steps for usage in usages) if usages else 0.0,
        "cached_tokens_share": share(
            sum(usage.cached_tokens for usage in usages), sum(usage.prompt_tokens for usage in usages)
        ),
    }


def latency_table(report: dict[str, Any]) -> RenderableType:
    """The same for people."""
    keys = report["keys"]
    return _figures(
        ("keys", str(keys)),
        ("overtaken by the next key", f"{report['overtaken']} ({_percent(share(report['overtaken'], keys))})"),
        ("the model was asked", f"{report['asked']} ({_percent(share(report['asked'], keys))})"),
        ("known already", f"{report['from_cache']} ({_percent(share(report['from_cache'], keys))})"),
        ("asked for an earlier key", f"{report['from_flight']} ({_percent(share(report['from_flight'], keys))})"),
        ("something was shown", f"{report['spoke']} ({_percent(share(report['spoke'], keys))})"),
        ("requests to the model", ", ".join(f"{count} {name}" for name, count in report["requests"].items())),
        ("key to what was shown", _times(report["shown_ms"])),
        ("key to answer", _times(report["latency_ms"])),
        *((f"of it {stage}", _times(times)) for stage, times in report["stages_ms"].items()),
        ("denoising steps, mean", f"{report['mean_steps']:.1f}"),
        ("prompt tokens out of the cache", _percent(report["cached_tokens_share"])),
    )


def _latency(values: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}": percentile(values, percent) for percent in (50, 95, 99)}


def _times(latency: dict[str, float]) -> str:
    known = [f"{name} {ms:.0f} ms" for name, ms in latency.items() if not math.isnan(ms)]
    return ", ".join(known) or "no answers"


def _percent(part: float) -> str:
    return "nothing asked" if math.isnan(part) else f"{part:.0%}"


def _figures(*rows: tuple[str, str]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return table
