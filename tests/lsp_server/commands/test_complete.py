"""``lacuna complete`` as a shell runs it, against a real worker process around a fake engine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from lsp_server.cli import run
from lsp_server.commands import complete
from tests.support.fake_engine import Script
from tests.support.worker_room import PATIENCE_S, ROOT, WorkerRoom, room_in

SCHEMA = json.loads((Path(complete.__file__).parent / "complete.schema.json").read_text())
SAMPLE = "def area(width, height):\n    return \n"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shape.py"
    path.write_text(SAMPLE)
    return path


def lacuna(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsp_server", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT)


@pytest.fixture
def worker(room: WorkerRoom) -> WorkerRoom:
    """A room whose default worker is already there, so that the command attaches to it."""
    import asyncio

    from lsp_server.lifecycle import ensure_worker

    room.play(Script(text="width * height"))
    asyncio.run(ensure_worker(room.spec))
    return room


def test_it_prints_the_fill_and_nothing_else(worker: WorkerRoom, file: Path) -> None:
    done = lacuna("complete", file, "--at", "2:12")
    assert (done.returncode, done.stdout, done.stderr) == (0, "width * height\n", "")
    assert file.read_text() == SAMPLE


def test_json_fits_its_schema_and_counts_code_points_from_one(worker: WorkerRoom, file: Path) -> None:
    file.write_text('face = "👩‍🚀"\nreturn_ = ("🚀", \n')
    done = lacuna("complete", file, "--at", "2:16", "--json")
    body = json.loads(done.stdout)
    jsonschema.validate(body, SCHEMA)
    place = {"line": 2, "column": 16}
    assert body["choices"][0]["fills"] == [{"text": "width * height", "range": {"start": place, "end": place}}]
    assert body["model"] == "fake-model"


def test_write_puts_the_fill_into_the_file(worker: WorkerRoom, file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + SAMPLE.replace("\n", "\r\n").encode())
    assert lacuna("complete", file, "--at", "2:12", "--write").returncode == 0
    expected = SAMPLE.replace("return ", "return width * height").replace("\n", "\r\n")
    assert file.read_bytes() == b"\xef\xbb\xbf" + expected.encode()


def test_visual_draws_the_canvas_and_ends_with_the_fill(worker: WorkerRoom, file: Path) -> None:
    done = lacuna("complete", file, "--at", "2:12", "--visual")
    assert done.returncode == 0
    assert "return width * height" in done.stdout
    assert "confidence 0.90" in done.stdout


def test_nothing_to_say_is_said_and_is_no_failure(worker: WorkerRoom, file: Path) -> None:
    worker.play(Script(text=")))"))
    done = lacuna("complete", file, "--at", "2:12", "--write")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("lacuna: nothing to suggest at 2:12:")
    assert file.read_text() == SAMPLE


def test_a_gap_nobody_asks_about_is_still_valid_json(worker: WorkerRoom, file: Path) -> None:
    secret = file.with_name(".env")
    secret.write_text("TOKEN=\n")
    done = lacuna("complete", secret, "--at", "1:7", "--json")
    body = json.loads(done.stdout)
    jsonschema.validate(body, SCHEMA)
    assert body["choices"] == []
    assert worker.steps_run() == 0


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        ("2", "--at '2' is not LINE:COL"),
        ("0:1", "--at '0:1' is not LINE:COL"),
        ("a:b", "is not LINE:COL"),
        ("9:1", "has 3 lines"),
        ("1:99", "line 1 of"),
    ],
)
def test_a_position_outside_the_file_is_a_usage_error(file: Path, at: str, sentence: str) -> None:
    done = lacuna("complete", file, "--at", at)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"caf\xe9\n", "is not UTF-8 (line 1)"), (b"x" * 5_000_001, "is larger than 5 MB")],
)
def test_a_file_it_cannot_take_is_left_alone(file: Path, content: bytes, sentence: str) -> None:
    file.write_bytes(content)
    done = lacuna("complete", file, "--at", "1:1", "--write")
    assert done.returncode == 3
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert file.read_bytes() == content


def test_an_empty_file_has_one_position(worker: WorkerRoom, file: Path) -> None:
    file.write_bytes(b"")
    assert lacuna("complete", file, "--at", "1:1").returncode == 0


def test_a_worker_that_cannot_load_is_told_in_one_line(room: WorkerRoom, file: Path) -> None:
    missing = file.parent / "no-such-model"
    done = lacuna("complete", file, "--at", "2:12", "--model", missing)
    assert done.returncode == 3
    assert str(missing) in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_a_pipe_ends_with_the_command_not_with_the_worker(worker: WorkerRoom, file: Path) -> None:
    command = f"{sys.executable} -m lsp_server complete {file} --at 2:12 | tee {file}.out"
    subprocess.run(["bash", "-c", command], timeout=PATIENCE_S, check=True, capture_output=True, cwd=ROOT)
    assert Path(f"{file}.out").read_text() == "width * height\n"
    assert worker.workers()


@pytest.mark.parametrize("name", [".env", "ignored.py", "link.py"])
def test_what_may_not_be_read_is_not_opened(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    (tmp_path / ".env").write_text("x = 1\n")
    (tmp_path / "ignored.py").write_text("x = 1\n")
    (tmp_path / "link.py").symlink_to(tmp_path / ".env")

    def forbidden(path: Path) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(complete.SourceFile, "read", forbidden)
    assert run(["complete", str(tmp_path / name), "--at", "1:1", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["choices"] == []
    assert name in said.err
