"""Hub ids, adapters, devices and precisions from the command line to the model that answers: no part is a fake."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.weights import DECODER, ENCODER
from tests.support.lora_adapter import halves, write_adapter
from tests.support.tiny_checkpoint import put_into_hub_cache, write_tiny_checkpoint
from tests.support.worker_room import WorkerRoom, room_in

REPO = "someone/tiny"
Q = "layers.0.self_attn.q_proj"
LIMIT_S = 100


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("made") / "tiny", shard_bytes=60_000)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    yield from room_in(tmp_path, monkeypatch)


def lacuna(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsp_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL)


def start(*arguments: str) -> dict[str, str]:
    done = lacuna("worker", "start", "--wait", "--json", "--device", "cpu", *arguments)
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def test_a_model_of_the_hub_with_an_adapter(room: WorkerRoom, tiny: Path, tmp_path: Path) -> None:
    put_into_hub_cache(tiny, tmp_path / "hub", REPO)
    adapter = write_adapter(tmp_path / "style", halves(DECODER + Q, 32, 32) | halves(ENCODER + Q, 32, 32))
    plain = start("--model", REPO)
    styled = start("--model", REPO, "--adapter", os.path.relpath(adapter), "--precision", "fp32")
    assert (plain["model"], plain["state"]) == (REPO, "ready")
    assert (styled["model"], styled["state"]) == (f"{REPO}+style", "ready")
    assert plain["pid"] != styled["pid"], "each has its own worker"
    assert len(room.workers()) == 2
    source = tmp_path / "a.py"
    source.write_text("def add(a, b):\n    return \n")
    choice = ("--model", REPO, "--adapter", str(adapter), "--precision", "fp32", "--device", "cpu")
    done = lacuna("complete", str(source), "--at", "2:12", "--json", "--seed", "1", *choice)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] in (f"{REPO}+style", "")
    assert len(room.workers()) == 2
    assert f"{REPO}+style on cpu" in lacuna("worker", "status", *choice).stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "some/other"], "fetch it: lacuna model pull some/other"),
        (["--model", REPO], "is only partly downloaded (config.json is missing); go on with: lacuna model pull"),
        (["--model", "/nowhere"], "there is no model folder /nowhere"),
        (["--device", "cuda:99"], "there is no device 'cuda:99' that torch can use here"),
        (["--adapter", "{tmp}"], "adapter_config.json is missing; --adapter takes the folder of a PEFT adapter"),
        (["--model", "{tmp}"], "config.json is missing; is it a checkpoint folder?"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(
    room: WorkerRoom, tiny: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    (put_into_hub_cache(tiny, tmp_path / "hub", REPO) / "config.json").unlink()
    done = lacuna("worker", "start", "--wait", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 3
    assert done.stdout == ""
    *loading, why = done.stderr.splitlines()
    assert sentence in why
    assert all(line.startswith("lacuna: loading ") for line in loading)


def test_an_unknown_precision_is_a_matter_of_usage(room: WorkerRoom) -> None:
    done = lacuna("worker", "start", "--precision", "fp2")
    assert done.returncode == 2
    assert "invalid choice: 'fp2'" in done.stderr
