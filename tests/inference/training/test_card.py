"""The card is filled from what a run left behind, and leaves no placeholder open."""

import json
from pathlib import Path

from inference.training.architecture import SHAPES, save_shape
from inference.training.card import CALIBRATION, METRICS, SHOWING, write_card
from inference.training.evaluate import evaluate
from inference.training.export import read_sampling
from tests.support.toy_training import DOCUMENTS


def write_run(run: Path, checkpoint: Path) -> None:
    run.mkdir()
    save_shape(SHAPES["toy"], run)
    report = evaluate(checkpoint, DOCUMENTS, read_sampling(checkpoint), 1, 0)
    (run / "evaluation.json").write_text(json.dumps(report))
    (run / METRICS).write_text(json.dumps({"step": 7, "prompt_tokens": 2_000_000, "canvas_tokens": 1_000_000}))
    line = {"step": 0, "canvas": 5.0, "encoder": 4.0, "noise": None}
    (run / "log.jsonl").write_text(json.dumps(line) + "\n")


def test_what_was_measured_stands_in_the_card(toy_checkpoint: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, toy_checkpoint)
    write_card(run, toy_checkpoint, 0)
    card = (toy_checkpoint / "MODEL_CARD.md").read_text()
    assert "{{" not in card
    assert "Not measured for this checkpoint." in card
    assert "Not calibrated" in card
    assert "seen 2.0 million tokens" in card
    (run / SHOWING).write_text("| gap | shown |\n")
    (run / CALIBRATION).write_text("| both | 0.31 |\n")
    write_card(run, toy_checkpoint, 0)
    card = (toy_checkpoint / "MODEL_CARD.md").read_text()
    assert "| gap | shown |" in card
    assert "| both | 0.31 |" in card
