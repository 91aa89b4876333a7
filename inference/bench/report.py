"""What was measured: printed a line at a time, and kept in a JSON file that is whole at every moment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from inference.bench.clock import Timing

_OURS = ("ours", "ours_graph")
HEADER = (
    f"{'variant':<10} {'how':<11} {'canvas':>6} {'batch':>5} {'ms':>9} {'least':>9} {'most':>9} "
    f"{'hit':>5} {'floor':>7} {'x floor':>7} {'peak GB':>8}"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant of one case: its timing, or the reason why there is none.

    ``how`` says in which precision our weights are kept, or which implementation of the experts transformers runs.
    ``floor_ms`` is the memory floor of a step when the share ``experts_hit`` of the experts is read; ``peak_gb`` the
    most memory (1e9 bytes) that was allocated on the device meanwhile.
    """

    variant: str
    how: str
    canvas: int
    batch: int
    timing: Timing | None = None
    floor_ms: float | None = None
    experts_hit: float | None = None
    peak_gb: float | None = None
    problem: str = ""

    def line(self) -> str:
        """Return the table's line, under ``HEADER``."""
        names = f"{self.variant:<10} {self.how:<11} {self.canvas or '':>6} {self.batch or '':>5}"
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
        """Print the milliseconds of all steps once more, short: a line for each case, a column for each variant, and
        how many times slower than ours the others are."""
        steps = [row for row in self.rows if row.floor_ms is not None]
        hows: dict[str, list[str]] = {}
        for row in steps:
            hows.setdefault(row.variant, [])
            hows[row.variant] += [row.how] if row.how not in hows[row.variant] else []
        columns = [(variant, how) for variant, these in hows.items() for how in these]
        names = [f"{variant} {how}" if len(hows[variant]) > 1 else variant for variant, how in columns]
        cases: dict[str, dict[tuple[str, str], Row]] = {}
        for row in steps:
            cases.setdefault(f"{row.canvas}x{row.batch}", {})[row.variant, row.how] = row
        print(f"\n{'ms per step':<12}", *(f"{name:>15}" for name in ("floor", *names)))
        for case, rows in cases.items():
            floor = next(iter(rows.values())).floor_ms
            print(f"{case:<12}", _cell(floor, ".2f", 15), *(_cell(_median(rows, at), ".2f", 15) for at in columns))
        print(f"\n{'x ours':<12}", *(f"{name:>15}" for name in ("floor", *names)))
        for case, rows in cases.items():
            best = min((ms for at in columns if at[0] in _OURS and (ms := _median(rows, at))), default=None)
            floor = next(iter(rows.values())).floor_ms
            times = [
                None if ms is None or best is None else ms / best
                for ms in (floor, *(_median(rows, at) for at in columns))
            ]
            print(f"{case:<12}", *(_cell(ratio, ".2f", 15) for ratio in times), flush=True)

    def _save(self) -> None:
        if self.path is not None:
            draft = self.path.with_name(self.path.name + ".draft")
            content = self.facts | {"rows": [asdict(row) for row in self.rows]}
            draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            draft.replace(self.path)


def _median(rows: dict[tuple[str, str], Row], at: tuple[str, str]) -> float | None:
    timing = rows[at].timing if at in rows else None
    return timing.median_ms if timing else None


def _cell(value: float | None, form: str, width: int) -> str:
    return " " * width if value is None else format(format(value, form), f">{width}")
