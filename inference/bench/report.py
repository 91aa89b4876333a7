"""What was measured: printed a line at a time, and kept in a JSON file that is whole at every moment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from inference.bench.clock import Timing

HEADER = (
    f"{'variant':<10} {'experts':<11} {'canvas':>6} {'batch':>5} {'ms':>9} {'least':>9} {'most':>9} "
    f"{'hit':>5} {'floor':>7} {'x floor':>7} {'peak GB':>8}"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant of one case: its timing, or the reason why there is none.

    ``floor_ms`` is the memory floor of a step when the share ``experts_hit`` of the experts is read; ``peak_gb`` the
    most memory (1e9 bytes) that was allocated on the device meanwhile.
    """

    variant: str
    experts: str
    canvas: int
    batch: int
    timing: Timing | None = None
    floor_ms: float | None = None
    experts_hit: float | None = None
    peak_gb: float | None = None
    problem: str = ""

    def line(self) -> str:
        """Return the table's line, under ``HEADER``."""
        names = f"{self.variant:<10} {self.experts:<11} {self.canvas or '':>6} {self.batch or '':>5}"
        if self.timing is None:
            return f"{names} {self.problem}"
        ratio = self.timing.median_ms / self.floor_ms if self.floor_ms else None
        return (
            f"{names} {self.timing.median_ms:>9.2f} {self.timing.least_ms:>9.2f} {self.timing.most_ms:>9.2f} "
            f"{_cell(self.experts_hit, '.0%', 5)} {_cell(self.floor_ms, '.2f', 7)} {_cell(ratio, '.2f', 7)} "
            f"{_cell(self.peak_gb, '.1f', 8)}"
        )


@dataclass
class Report:
    """``facts`` say what was measured on; ``path`` None keeps nothing."""

    path: Path | None
    facts: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def note(self, **facts: Any) -> None:
        """Take in facts, and print them."""
        self.facts |= facts
        for name, value in facts.items():
            print(f"{name.replace('_', ' ')}: {value}", flush=True)
        self._save()

    def add(self, row: Row) -> None:
        """Take in a row, and print it."""
        if not self.rows:
            print(f"\n{HEADER}", flush=True)
        self.rows.append(row)
        print(row.line(), flush=True)
        self._save()

    def summarise(self) -> None:
        """Print the milliseconds of all steps once more, short: a line for each case, a column for each variant."""
        steps = [row for row in self.rows if row.floor_ms is not None]
        variants = list(dict.fromkeys(row.variant for row in steps))
        cases: dict[str, dict[str, Row]] = {}
        for row in steps:
            cases.setdefault(f"{row.canvas}x{row.batch} {row.experts}", {})[row.variant] = row
        print(f"\n{'ms per step':<18}", *(f"{name:>10}" for name in ("floor", *variants)))
        for case, rows in cases.items():
            timings = [rows[name].timing if name in rows else None for name in variants]
            cells = [_cell(timing.median_ms if timing else None, ".2f", 10) for timing in timings]
            print(f"{case:<18}", _cell(next(iter(rows.values())).floor_ms, ".2f", 10), *cells, flush=True)

    def _save(self) -> None:
        if self.path is not None:
            draft = self.path.with_name(self.path.name + ".draft")
            content = self.facts | {"rows": [asdict(row) for row in self.rows]}
            draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            draft.replace(self.path)


def _cell(value: float | None, form: str, width: int) -> str:
    return " " * width if value is None else format(format(value, form), f">{width}")
