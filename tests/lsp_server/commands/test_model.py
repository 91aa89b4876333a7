"""``lacuna model``, as a person or a program runs it, against a hub on loopback."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsp_server.cli import run
from lsp_server.commands import model
from tests.support.fake_hub import COMMIT, FakeHub
from tests.support.tiny_checkpoint import write_tiny_checkpoint

REPO = "someone/tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    with FakeHub.of(REPO, folder).serve() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def lacuna(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert run(["model", *arguments]) == code
    said = capsys.readouterr()
    return said.out, said.err


def test_pull_list_show(hub: FakeHub, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    out, _ = lacuna(capsys, "pull", REPO, "--yes")
    size = f"{sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB"
    assert f"someone/tiny at main ({COMMIT[:12]}), licence apache-2.0: {size} in" in out
    assert f"{size} to download" in out
    assert "free at" in out
    assert "use it: lacuna serve --model someone/tiny" in out
    listed = json.loads(lacuna(capsys, "list", "--json")[0])
    assert [one["name"] for one in listed] == ["lacuna-default", REPO]
    lines = lacuna(capsys, "list", str(folder.parent))[0].splitlines()
    assert [line.split()[0] for line in lines] == ["model", "lacuna-default", "tiny", REPO]
    shown = lacuna(capsys, "show", REPO)[0]
    for essential in ("3 layers, hidden size 32, 2 of 4 experts", "340 tokens", "16 tokens", "fp32", "fim"):
        assert essential in shown
    assert json.loads(lacuna(capsys, "show", REPO, "--json")[0])["name"] == REPO
    downloads = len(hub.downloads)
    assert "0.0 MB to download" in lacuna(capsys, "pull", REPO)[0], "what is whole needs no asking"
    assert len(hub.downloads) == downloads


def test_the_embedded_model_is_shown(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = lacuna(capsys, "show")
    for essential in ("lacuna-default", "7.3 million in bf16", "8,192 tokens", "apache-2.0", "| gap |"):
        assert essential in out


def test_nothing_is_downloaded_unasked(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is at a pipe: the size is shown, and nothing fetched."""
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open() as nobody:
        patch.setattr(sys, "stdin", nobody)
        out, error = lacuna(capsys, "pull", REPO, code=2)
    assert "to download" in out
    assert error == "lacuna: nobody is there to be asked; say --yes to download\n"
    assert not hub.downloads


@pytest.mark.parametrize(("answer", "code"), [("n", 3), ("", 3), ("y", 0)])
def test_a_person_is_asked(hub: FakeHub, answer: str, code: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "lsp_server", "model", "pull", REPO]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=theirs, stdout=pipe, stderr=pipe, text=True) as process:
        os.write(ours, f"{answer}\n".encode())
        out, error = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, error
    assert "Download? [y/N]" in out
    assert bool(hub.downloads) is (code == 0)
    assert error == ("" if code == 0 else "lacuna: nothing was downloaded\n")


def test_no_room_is_told_before_asking(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = model._ask

    def small_disk(*arguments: str) -> Any:
        return real(*arguments) | {"free_bytes": 1000}

    monkeypatch.setattr(model, "_ask", small_disk)
    _, error = lacuna(capsys, "pull", REPO, "--yes", code=3)
    assert "someone/tiny needs" in error
    assert "0.0 MB are free at" in error
    assert not hub.downloads


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pull", "some/other", "--yes"), "there is no model some/other at http"),
        (("pull", REPO, "--revision", "v9", "--yes"), "has no revision 'v9'"),
        (("show", "some/other"), "fetch it: lacuna model pull some/other"),
        (("show", "/nowhere"), "there is no model folder /nowhere"),
        (("list", "/nowhere"), "there is no folder /nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    out, error = lacuna(capsys, *arguments, code=3)
    assert out == ""
    assert error.startswith("lacuna: ")
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["dance"], ["pull"], ["list", "--colour"]])
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(["model", *arguments])
    assert left.value.code == 2
    assert "usage: " in capsys.readouterr().err
