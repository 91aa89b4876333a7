"""``lacuna doctor`` tells what is installed, which device and model, and whether the worker is up."""

import asyncio
import os
import signal
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from lsp_server.cli import run
from lsp_server.commands import doctor
from lsp_server.lifecycle import ensure_worker
from tests.support.worker_room import WorkerRoom, room_in


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


def test_all_is_well(room: WorkerRoom, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(ensure_worker(room.spec))
    assert run(["doctor"]) == 0
    report = capsys.readouterr().out
    for word in ("python", "pygls", "torch", "transformers", "cpu:", "default_model", "pid"):
        assert word in report
    assert "✗" not in report


def test_no_worker_is_no_problem(room: WorkerRoom) -> None:
    (worker,) = doctor._worker({})
    assert "not running" in worker.value
    assert not worker.problem


def test_a_silent_worker_is_a_problem_with_a_way_out(room: WorkerRoom) -> None:
    endpoint = asyncio.run(ensure_worker(room.spec))
    os.kill(endpoint.pid, signal.SIGSTOP)
    (worker,) = doctor._worker({})
    assert "lacuna worker stop" in worker.problem


def test_without_torch_it_says_how_to_install_it(room: WorkerRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.version

    def version(package: str) -> str:
        if package == "torch":
            raise PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(doctor, "version", version)
    findings = {finding.subject: finding for finding in doctor.examine({})}
    assert findings["torch"].problem == "pip install 'lacuna-lsp[local]'"
    assert "device" not in findings


def test_a_folder_without_weights_is_a_problem(room: WorkerRoom, tmp_path: Path) -> None:
    assert run(["doctor", "--model", str(tmp_path)]) == 1
