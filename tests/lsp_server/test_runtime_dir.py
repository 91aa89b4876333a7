"""Directories that only their owner can enter."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from lsp_server.runtime_dir import (
    MAX_SOCKET_PATH_BYTES,
    RuntimeDirError,
    log_directory,
    private_directory,
    runtime_directory,
    socket_directory,
)

OTHER_USER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_with_its_parents(tmp_path: Path) -> None:
    path = private_directory(tmp_path / "a" / "b")
    assert (mode(path), mode(path.parent)) == (0o700, 0o700)


@pytest.mark.parametrize("found", [0o755, 0o770, 0o777, 0o701])
def test_our_own_directorys_mode_is_put_right(tmp_path: Path, found: int) -> None:
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(found)
    assert mode(private_directory(path)) == 0o700


@needs_root
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    os.chown(path, OTHER_USER, OTHER_USER)
    with pytest.raises(RuntimeDirError, match=f"{path} belongs to another user .* LACUNA_RUNTIME_DIR"):
        private_directory(path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    path = tmp_path / "run"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RuntimeDirError, match=f"{path} is a link"):
        private_directory(path)


@pytest.mark.parametrize("target", ["nothing", "file"])
def test_what_is_no_directory_is_refused(tmp_path: Path, target: str) -> None:
    path = tmp_path / "run"
    if target == "file":
        path.write_text("")
    else:
        path.symlink_to(tmp_path / "nothing")
    with pytest.raises(RuntimeDirError, match=f"{path} .*LACUNA_RUNTIME_DIR"):
        private_directory(path)


def test_a_place_where_others_could_swap_it_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "shared"
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(RuntimeDirError, match=f"{parent} lets other users replace run"):
        private_directory(parent / "run")
    parent.chmod(0o1777)
    assert private_directory(parent / "run").is_dir()


@needs_root
def test_a_place_in_another_users_directory_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "theirs"
    parent.mkdir(mode=0o755)
    os.chown(parent, OTHER_USER, OTHER_USER)
    with pytest.raises(RuntimeDirError, match="lets other users replace"):
        private_directory(parent / "run")


def test_the_environment_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("LACUNA_LOG_DIR", str(tmp_path / "log"))
    assert (runtime_directory(), log_directory()) == (tmp_path / "run", tmp_path / "log")


def test_the_platform_chooses_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LACUNA_RUNTIME_DIR", raising=False)
    (tmp_path / "xdg").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    assert runtime_directory() == tmp_path / "xdg" / "lacuna"


def test_without_a_runtime_directory_there_is_a_private_one_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.delenv("LACUNA_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = runtime_directory()
    assert mode(path) == 0o700
    assert path.stat().st_uid == os.geteuid()
    assert not recwarn.list


def test_sockets_lie_beside_the_endpoint_if_that_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert socket_directory(Path("/run/user/1/lacuna"), "default-123456.sock") == Path("/run/user/1/lacuna")


def test_sockets_lie_in_a_short_private_place_if_not(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    path = socket_directory(deep, "default-123456.sock")
    assert len(os.fsencode(path / "default-123456.sock")) <= MAX_SOCKET_PATH_BYTES
    assert mode(path) == 0o700


def test_a_temporary_directory_that_is_too_deep_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("t" * 120)))
    path = socket_directory(tmp_path / ("d" * 120), "default-123456.sock")
    assert path == Path("/tmp", f"lacuna-{os.getuid()}")
