"""``lacuna bench`` as a shell runs it: real worker processes around a fake engine, real programs in the sandbox."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsp_server.lifecycle import ensure_worker
from tests.support.fake_engine import Script
from tests.support.worker_room import PATIENCE_S, ROOT, WorkerRoom, room_in

SAMPLE = ROOT / "tests/data/infilling/sample.jsonl"
TYPING = ROOT / "tests/data/typing/cart.json"
OUTSIDE = Path("/var/tmp/lacuna-bench-outside.txt")


def lacuna(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsp_server", "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT)


def report(*arguments: object) -> dict[str, Any]:
    done = lacuna(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    """A room whose default worker is already there, so that the command attaches to it."""
    for room in room_in(tmp_path, monkeypatch):
        room.play(Script(text="answer()", steps=5))
        asyncio.run(ensure_worker(room.spec))
        yield room


def test_only_programs_whose_tests_ran_to_the_end_have_passed(worker: WorkerRoom) -> None:
    found = report("infilling", "--data", SAMPLE, "--test-limit", "2")
    reasons = {one["task_id"].removeprefix("Sample/"): one["reason"] for one in found["outcomes"]}
    assert reasons == {
        "right": "",
        "loops": "timed out",
        "forks": "PermissionError",
        "writes": "PermissionError",
        "leaves": "SystemExit",
    }
    assert not OUTSIDE.exists()
    assert [one["passed"] for one in found["outcomes"]] == [True, False, False, False, False]
    assert (found["pass_at_1"], found["exact_match"], found["mean_steps"]) == (0.2, 0.2, 5)
    assert (found["gaps"], found["model"], found["device"]) == (5, "fake-model", "cpu")
    assert found["latency_ms"]["p50"] > 0
    assert found["confidence_curve"] == [{"low": 0.9, "high": 1.0, "gaps": 5, "passed": 0.2}]
    assert "gate" not in found


def test_the_gate_and_the_limit(worker: WorkerRoom) -> None:
    found = report("infilling", "--data", SAMPLE, "--limit", "1", "--gate")
    assert found["gate"][0] == {"threshold": 0.0, "coverage": 1.0, "precision": 1.0}
    assert found["gate"][-1]["threshold"] == 0.9
    done = lacuna("infilling", "--data", SAMPLE, "--limit", "1", "--gate")
    assert done.returncode == 0
    for words in ("fake-model on cpu", "pass@1", "1.000", "speak from", "0.90"):
        assert words in done.stdout


def test_as_editors_ask_the_filters_have_their_say(worker: WorkerRoom) -> None:
    assert report("infilling", "--data", SAMPLE, "--limit", "1", "--editor")["pass_at_1"] == 1.0
    worker.play(Script(text=")))"))
    found = report("infilling", "--data", SAMPLE, "--limit", "1", "--editor")
    assert found["outcomes"][0]["spoke"] is False
    assert found["outcomes"][0]["reason"].startswith("dropped")


def test_a_gap_that_the_worker_refuses_has_failed(worker: WorkerRoom) -> None:
    worker.play(Script(fail="out_of_memory"))
    found = report("infilling", "--data", SAMPLE, "--limit", "1")
    assert found["pass_at_1"] == 0
    assert found["outcomes"][0]["reason"] == "refused: the script says so"


@pytest.mark.parametrize("benchmark", [["latency", "--keys", TYPING], ["infilling", "--data", SAMPLE]])
def test_it_loads_what_the_other_commands_load(worker: WorkerRoom, benchmark: list[object], tmp_path: Path) -> None:
    done = lacuna(*benchmark, "--model", tmp_path, "--adapter", "/no/adapter", "--device", "cpu", "--precision", "fp32")
    assert done.returncode == 3
    assert "/no/adapter" in done.stderr or str(tmp_path) in done.stderr, done.stderr
    assert done.stdout == ""


def test_typing_is_replayed_as_the_editor_asks(worker: WorkerRoom) -> None:
    found = report("latency", "--keys", TYPING, "--speed", "2")
    assert found["keys"] == 96
    assert found["overtaken"] + found["asked"] + found["from_cache"] + found["from_flight"] <= 96
    assert found["requests"]["interactive"] >= found["asked"]
    assert 1 <= found["asked"] <= 96
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["p99"]
    assert list(found["stages_ms"]) == ["debounce", "queue", "encode", "denoise", "elsewhere"]
    assert found["stages_ms"]["debounce"]["p50"] >= 20
    assert found["cached_tokens_share"] == 0
    done = lacuna("latency", "--keys", TYPING, "--speed", "100")
    assert done.returncode == 0
    for words in ("key to answer", "of it debounce", "of it denoise"):
        assert words in done.stdout


def test_steps_runs_in_another_process_which_reads_the_options(tmp_path: Path) -> None:
    options = "--shape tiny --device cpu --canvas 8 --batch 1 --prompt 8 --steps 1 --runs 3 --variants decoder"
    done = lacuna("steps", *options.split(), "--json", tmp_path / "steps.json")
    assert done.returncode == 0, done.stderr
    assert "decoder" in done.stdout
    assert json.loads((tmp_path / "steps.json").read_text())["rows"][-1]["variant"] == "decoder"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["infilling", "--data", "/no/such/file.jsonl"], 3, "/no/such/file.jsonl cannot be read: No such file"),
        (["infilling", "--data", TYPING], 3, "not JSON"),
        (["infilling", "--data", SAMPLE, "--limit", "0"], 2, "must be at least 1"),
        (["infilling", "--data", SAMPLE, "--candidates", "1000"], 2, "'n' must be between"),
        (["infilling", "--data", SAMPLE, "--seed", "-1"], 2, "'seed' must be between"),
        (["infilling", "--data", SAMPLE, "--test-limit", "nan"], 2, "--test-limit must be greater than 0"),
        (["latency", "--keys", "/no/such/file.json"], 3, "/no/such/file.json cannot be read"),
        (["latency", "--keys", SAMPLE], 3, "is not JSON"),
        (["latency", "--speed", "0"], 2, "--speed must be greater than 0"),
    ],
)
def test_what_it_cannot_do_is_told_in_one_line(arguments: list[object], code: int, sentence: str) -> None:
    done = lacuna(*arguments)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
