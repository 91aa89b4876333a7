"""What ``lacuna bench gaps`` says: as JSON, and as Markdown for people and model cards."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from lsp_server.bench.calibration import confidence_curve, gates
from lsp_server.bench.figures import percentile, share
from lsp_server.bench.showing import Showing

_PLOT = 40
"""Characters of a whole bar."""

_COLUMNS = {
    "shown": "shown",
    "exact_of_shown": "exact",
    "begins_right_of_shown": "begins right",
    "proposed_of_shown": "from elsewhere",
    "parses": "parses",
    "exact": "best guess exact",
    "similarity": "best guess similarity",
}


def showing_report(showings: Sequence[Showing]) -> dict[str, Any]:
    """Figures of each kind and language, and of all single-line gaps together; shares are 0..1, times milliseconds."""
    groups: dict[str, list[Showing]] = {}
    for one in showings:
        groups.setdefault(f"{one.kind} {one.language_id}", []).append(one)
    lines = [one for one in showings if one.kind == "line"]
    return {
        "gaps": len(showings),
        "confidence_floor": max((one.floor for one in showings), default=0.0),
        "latency_ms": {f"p{percent}": percentile([one.ms for one in showings], percent) for percent in (50, 95, 99)},
        "kinds": {name: _figures(group) for name, group in groups.items()},
        "single_lines": _figures(lines) if lines else None,
        "confidence_curve": [asdict(band) for band in confidence_curve(lines)],
        "gate": [asdict(gate) for gate in gates(lines)],
        "samples": [_sample(one) for one in lines[:12]],
    }


def showing_markdown(report: dict[str, Any]) -> str:
    """The same as Markdown: the table of kinds, the reliability plot, the floors, the first gaps as they came."""
    kinds = dict(report["kinds"])
    if report["single_lines"]:
        kinds["**line, all**"] = report["single_lines"]
    parts = [
        _table(
            ("gap", "gaps", *_COLUMNS.values()),
            ((name, str(row["gaps"]), *(_number(row[key]) for key in _COLUMNS)) for name, row in kinds.items()),
        ),
        f"The floor is {report['confidence_floor']:.2f}; time to answer: "
        + ", ".join(f"{name} {ms:.0f} ms" for name, ms in report["latency_ms"].items())
        + ".",
        "Reliability on single-line gaps: bars are the share that is exactly right, `|` marks where it would be if the "
        "confidence were exact.",
        "```text\n" + "\n".join(_bar(band) for band in report["confidence_curve"]) + "\n```",
        _table(
            ("speak from", "coverage", "precision"),
            ((f"{g['threshold']:.2f}", _number(g["coverage"]), _number(g["precision"])) for g in report["gate"]),
        ),
    ]
    return "\n\n".join(parts)


def _figures(group: Sequence[Showing]) -> dict[str, Any]:
    shown = [one for one in group if one.shown]
    parsed = [one.parses for one in shown if one.parses is not None]
    return {
        "gaps": len(group),
        "shown": share(len(shown), len(group)),
        "exact_of_shown": share(sum(one.passed for one in shown), len(shown)),
        "begins_right_of_shown": share(sum(one.begins_right for one in shown), len(shown)),
        "proposed_of_shown": share(sum(one.proposed for one in shown), len(shown)),
        "parses": share(sum(parsed), len(parsed)),
        "spoke": share(sum(one.spoke for one in group), len(group)),
        "exact": share(sum(one.passed for one in group), len(group)),
        "similarity": statistics.fmean(one.similarity for one in group),
    }


def _sample(one: Showing) -> dict[str, Any]:
    return {
        "place": one.place,
        "text": one.text,
        "expected": one.expected,
        "shown": one.shown,
        "exact": one.passed,
        "confidence": round(one.confidence, 3),
    }


def _bar(band: dict[str, Any]) -> str:
    filled, ideal = round(band["passed"] * _PLOT), round((band["low"] + band["high"]) / 2 * _PLOT)
    bar = "".join("|" if place == ideal else "█" if place < filled else "·" for place in range(_PLOT + 1))
    return f"{band['low']:.1f}-{band['high']:.1f} {bar} {band['passed']:.2f} of {band['gaps']}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(head), "|".join(["---"] * len(head)), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"
