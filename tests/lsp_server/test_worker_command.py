"""``lacuna worker``, as a person or a program runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_engine import Script
from tests.support.worker_room import PATIENCE_S, WorkerRoom, alive, endpoint_is_there, is_gone, room_in, wait_until

# The command of the product, around a worker with the fake engine.
COMMAND = """if True:
    import signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background of a shell
    from dataclasses import replace
    from lsp_server import cli
    from lsp_server.commands import worker
    made = worker.WorkerSpec
    worker.WorkerSpec = lambda **given: made(**given, command=(sys.executable, "-P", "-m", "tests.support.fake_worker"))
    cli.main(["worker", *sys.argv[1:]])
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


def popen(room: WorkerRoom, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=room.folder)


def lacuna_worker(room: WorkerRoom, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run the command to its end, and to the end of its pipes."""
    process = popen(room, *arguments)
    out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, error
    error = re.sub(r"lacuna: loading \d.*\n", "", error)  # told when loading takes longer than a moment
    if code == 3:
        assert out == ""
        assert error.startswith("lacuna: ")
        assert error.count("\n") == 1
    return out, error


def test_a_day_of_a_worker(room: WorkerRoom) -> None:
    assert "no worker is running" in lacuna_worker(room, "status", code=3)[1]
    started = json.loads(lacuna_worker(room, "start", "--wait", "--json")[0])
    assert set(started) == {"address", "token", "pid", "model", "engine", "state"}
    assert started["address"].startswith("unix:/")
    assert (started["model"], started["engine"], started["state"]) == ("fake-model", "local", "ready")
    assert json.loads(lacuna_worker(room, "status", "--json")[0]) == started
    line = lacuna_worker(room, "status")[0]
    assert line.startswith("lacuna worker: ready at unix:/")
    assert line.count("\n") == 1
    assert started["token"] not in line
    assert lacuna_worker(room, "start")[0] == line
    assert "is ready on cpu" in lacuna_worker(room, "logs", "-n", "1")[0]
    assert lacuna_worker(room, "stop")[0] == "stopped\n"
    is_gone(started["pid"])
    assert lacuna_worker(room, "stop")[0] == "no worker is running\n"


def test_loading_is_shown(room: WorkerRoom) -> None:
    room.play(Script(load_s=60.0))
    lacuna_worker(room, "start")
    wait_until(lambda: "loading 50%, reading weights" in lacuna_worker(room, "status")[0])


def test_loading_is_told_line_by_line_where_there_is_no_terminal(room: WorkerRoom) -> None:
    room.play(Script(load_s=2.5))
    process = popen(room, "start", "--wait")
    out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert out.startswith("lacuna worker: ready at ")
    assert error == "lacuna: loading 50%, reading weights\n"


def test_a_model_that_cannot_be_loaded_is_one_line(room: WorkerRoom) -> None:
    room.play(Script(fail_load="no weights in there; fetch them"))
    assert lacuna_worker(room, "start", "--wait", code=3)[1] == "lacuna: no weights in there; fetch them\n"


def test_tcp_and_keep_alive(room: WorkerRoom) -> None:
    started = json.loads(lacuna_worker(room, "start", "--http", "127.0.0.1:0", "--keep-alive", "0.1", "--json")[0])
    assert started["address"].startswith("http://127.0.0.1:")
    wait_until(lambda: not alive(started["pid"]))


def test_beyond_loopback_is_refused(room: WorkerRoom) -> None:
    assert "not a loopback address" in lacuna_worker(room, "start", "--http", "0.0.0.0:80", code=3)[1]


@pytest.mark.parametrize("arguments", [[], ["dance"], ["start", "--colour"], ["logs", "-n", "many"]])
def test_usage(room: WorkerRoom, arguments: list[str]) -> None:
    assert "usage: " in lacuna_worker(room, *arguments, code=2)[1]


def test_a_hung_worker_is_told(room: WorkerRoom) -> None:
    started = json.loads(lacuna_worker(room, "start", "--json")[0])
    os.kill(started["pid"], signal.SIGSTOP)
    assert "did not answer within" in lacuna_worker(room, "status", code=3)[1]


def test_in_the_foreground(room: WorkerRoom) -> None:
    process = popen(room, "run")
    wait_until(lambda: endpoint_is_there(room.endpoint_path))
    [worker] = [pid for pid in room.workers() if pid != process.pid]
    assert "a worker runs already" in lacuna_worker(room, "run", code=3)[1]
    assert json.loads(lacuna_worker(room, "status", "--json")[0])["pid"] == worker
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert out == ""
    assert "listening at" in error
    is_gone(worker)


def test_in_the_foreground_stopped_from_elsewhere(room: WorkerRoom) -> None:
    process = popen(room, "run")
    wait_until(lambda: endpoint_is_there(room.endpoint_path))
    lacuna_worker(room, "stop")
    assert process.wait(PATIENCE_S) == 0


def test_logs_before_there_is_one(room: WorkerRoom) -> None:
    assert "there is no log yet at" in lacuna_worker(room, "logs", code=3)[1]


def test_logs_are_followed_through_a_shortening(room: WorkerRoom) -> None:
    room.logs.mkdir(mode=0o700)
    log = room.logs / "worker-default.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    process = popen(room, "logs", "-n", "2", "-f")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["line 98\n", "line 99\n"]
    with log.open("a") as file:
        file.write("next\n")
    assert process.stdout.readline() == "next\n"
    log.write_text("short\n")
    assert process.stdout.readline() == "short\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130


def test_a_reader_that_leaves_is_no_error(room: WorkerRoom) -> None:
    room.logs.mkdir(mode=0o700)
    (room.logs / "worker-default.log").write_text("x" * 1_000_000)
    process = popen(room, "logs")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 0
