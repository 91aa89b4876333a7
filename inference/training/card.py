"""Writes `MODEL_CARD.md` from what was measured: the run's log, the evaluation report and the corpus manifest."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.training.architecture import load_shape
from inference.training.checkpointing import STATE, read_position
from inference.training.corpus import Source, read_manifest
from inference.training.evaluate import render

METRICS = "metrics.json"  # of a run that was brought home
TEMPLATE = Path(__file__).with_name("card.md")
SHOWING, CALIBRATION = "showing.md", "calibration.md"  # what `lacuna bench gaps` and `calibrate` printed
CURVE = 12  # rows of the loss table


def write_card(run: Path, folder: Path, seed: int) -> None:
    """Fill the template's placeholders and write the card into `folder`."""
    report = json.loads((run / "evaluation.json").read_text())
    position = read_position(run / STATE) if (run / STATE).exists() else json.loads((run / METRICS).read_text())
    used = run / "manifest.json"  # what the run learnt from, where its folder says so
    manifest = read_manifest(used) if used.exists() else read_manifest()
    shape = load_shape(run)
    values = {
        "LAYERS": shape.layers,
        "HIDDEN": shape.hidden,
        "HEADS": shape.heads,
        "KEY_VALUE_HEADS": shape.key_value_heads,
        "DENSE": shape.dense,
        "EXPERT": shape.expert,
        "WINDOW": shape.window,
        "SIZE": f"{(folder / 'model.safetensors').stat().st_size / 1e6:.1f}",
        "SEED": seed,
        "STEPS": f"{position['step']:,}",
        "STEPS_PLAIN": position["step"],
        "PROMPT_TOKENS": f"{position['prompt_tokens'] / 1e6:.1f}",
        "CANVAS_TOKENS": f"{position['canvas_tokens'] / 1e6:.1f}",
        "FLOOR": json.loads((folder / "infill.json").read_text())["confidence_floor"],
        "TRAIN_MB": f"{sum(source.bytes for source in manifest if source.split == 'train') / 1e6:.0f}",
        "CURVE": loss_table(run / "log.jsonl"),
        "SHOWING": beside(run / SHOWING, "Not measured for this checkpoint."),
        "CALIBRATION": beside(run / CALIBRATION, "Not calibrated: proposals are ignored."),
        "EVALUATION": render(report),
        "SAMPLES": samples(report["samples"]),
        "TRAIN": packages(manifest, "train"),
        "HELD_OUT": packages(manifest, "held_out"),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", str(value))
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def beside(path: Path, otherwise: str) -> str:
    """What a command printed, kept in the run's folder."""
    return path.read_text(encoding="utf-8").strip() if path.exists() else otherwise


def loss_table(log: Path) -> str:
    """Means of the losses over `CURVE` equal parts of the run; of a step logged twice the last line counts."""
    lines = {line["step"]: line for line in map(json.loads, log.read_text().splitlines())}
    steps = sorted(lines)
    size = max(1, -(-len(steps) // CURVE))
    rows = ["| steps | canvas | encoder | pure noise |", "|---|---|---|---|"]
    for start in range(0, len(steps), size):
        part = [lines[step] for step in steps[start : start + size]]
        noise = [line["noise"] for line in part if line["noise"] is not None]
        columns = (mean([line["canvas"] for line in part]), mean([line["encoder"] for line in part]), mean(noise))
        rows.append(f"| {part[0]['step']}–{part[-1]['step']} | " + " | ".join(f"{c:.2f}" for c in columns) + " |")
    return "\n".join(rows)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; NaN of nothing."""
    return sum(values) / len(values) if values else float("nan")


def samples(rows: Sequence[dict[str, Any]]) -> str:
    """Fills with a little context on both sides, as JSON strings so that line breaks show."""
    table = ["| prefix tail | fill | suffix head | stood there | confidence |", "|---|---|---|---|---|"]
    for row in rows:
        parts = [cell(row["prefix"][-40:]), cell(row["fill"]), cell(row["suffix"][:30]), cell(row["expected"])]
        table.append("| " + " | ".join(parts) + f" | {row['confidence']:.2f} |")
    return "\n".join(table)


def cell(text: str) -> str:
    """Text as code in a table cell."""
    shown = json.dumps(text, ensure_ascii=False)[1:-1].replace("|", "\\|").replace("`", "ˋ")
    return f"`{shown}`" if shown.strip() else "*nothing*"


def packages(manifest: Sequence[Source], split: str) -> str:
    """Names, versions and licences of one split."""
    chosen = [source for source in manifest if source.split == split]
    return ", ".join(f"{source.name} {source.version} ({source.licence})" for source in chosen)
