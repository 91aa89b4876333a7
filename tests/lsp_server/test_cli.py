"""The command line as a whole: what it offers, and how it refuses."""

import pytest

from lsp_server.cli import COMMANDS, run


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["complete"], ["worker"], ["complete", "x.py"], ["serve", "--tcp"]])
def test_a_wrong_call_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(arguments)
    assert left.value.code == 2
    assert "usage: lacuna" in capsys.readouterr().err


def test_what_could_not_be_done_is_one_line(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["complete", f"{tmp_path}/absent.py", "--at", "1:1"]) == 3
    said = capsys.readouterr().err
    assert said == f"lacuna: {tmp_path}/absent.py cannot be read: No such file or directory\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--version"])
    assert capsys.readouterr().out.startswith("lacuna ")
