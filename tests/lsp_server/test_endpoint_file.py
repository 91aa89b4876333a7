"""The endpoint file is believed only if it is ours and well-formed."""

import json
import os
import socket
from pathlib import Path

import pytest

from inference.protocol import Endpoint, encode
from lsp_server.endpoint_file import BadEndpoint, read_endpoint, remove_endpoint

ENDPOINT = Endpoint(address="unix:/run/s.sock", token="t", pid=2, model="m", engine="local")


def write(path: Path, content: bytes | str, mode: int = 0o600) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def with_(**changes: object) -> str:
    return json.dumps(encode(ENDPOINT) | changes)


def test_it_is_read(tmp_path: Path) -> None:
    assert read_endpoint(write(tmp_path / "e", with_())) == ENDPOINT


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read_endpoint(tmp_path / "e") is None
    assert read_endpoint(tmp_path / "nowhere" / "e") is None


def test_a_newer_sides_fields_are_passed_over(tmp_path: Path) -> None:
    newer = read_endpoint(write(tmp_path / "e", with_(protocol_version=99, colour="red")))
    assert newer is not None
    assert newer.protocol_version == 99


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00garbage",
        b"[]",
        b"[" * 60_000,
        b"{}",
        with_(pid="2"),
        with_(address="unix:relative.sock"),
        with_(address="http://example.org:80"),
        with_(address="http://10.0.0.1:80"),
        with_(address="http://127.0.0.1"),
        with_(address="http://127.0.0.1:99999"),
        with_(address="https://127.0.0.1:80"),
        with_(address="file:///etc/passwd"),
        with_()[:-1],
        with_() + " " * 70_000 + "x",
    ],
)
def test_garbage_is_not_believed(tmp_path: Path, content: bytes | str) -> None:
    path = write(tmp_path / "e", content)
    if content == with_() + " " * 70_000 + "x":
        assert read_endpoint(path) == ENDPOINT  # what is beyond the limit is never read
        return
    with pytest.raises(BadEndpoint):
        read_endpoint(path)


@pytest.mark.parametrize("address", ["unix:/a b.sock", "http://127.0.0.1:1", "http://[::1]:8123"])
def test_addresses_on_this_machine(tmp_path: Path, address: str) -> None:
    endpoint = read_endpoint(write(tmp_path / "e", with_(address=address)))
    assert endpoint is not None
    assert endpoint.address == address


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_file_open_to_others_is_not_believed(tmp_path: Path, mode: int) -> None:
    with pytest.raises(BadEndpoint, match="open to others"):
        read_endpoint(write(tmp_path / "e", with_(), mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_file_is_not_believed(tmp_path: Path) -> None:
    os.chown(write(tmp_path / "e", with_()), 65534, 65534)
    with pytest.raises(BadEndpoint, match="another user's"):
        read_endpoint(tmp_path / "e")


def test_links_pipes_and_directories_are_not_believed(tmp_path: Path) -> None:
    write(tmp_path / "real", with_())
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir()
    for name in ("link", "pipe", "directory"):
        with pytest.raises(BadEndpoint):
            read_endpoint(tmp_path / name)


def test_removing_takes_the_socket_too_and_nothing_else(tmp_path: Path) -> None:
    place, precious = tmp_path / "s.sock", write(tmp_path / "precious", "")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
    for address in (f"unix:{place}", f"unix:{precious}", "http://127.0.0.1:1"):
        path = write(tmp_path / "e", with_(address=address))
        remove_endpoint(path, read_endpoint(path))
        assert not path.exists()
    assert not place.exists()
    assert precious.exists()
