"""Files are read and written back without losing a byte of what is not changed."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.source_file import MAX_FILE_BYTES, SourceFile, SourceFileError


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a\r\nb\r\n",
        b"a\rb\nc\r\n",
        b"\xef\xbb\xbfimport os\n",
        "π = 3 # 🚀\n".encode(),
        b"no newline at the end",
        b"nul\x00byte\n",
        b"<|turn> <mask> <|gap_end|>\n",
    ],
)
def test_what_is_read_is_written_back_byte_for_byte(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "file.py"
    path.write_bytes(raw)
    source = SourceFile.read(path)
    source.write(source.text + "end")
    assert path.read_bytes() == raw + b"end"


@given(text=st.text(st.characters(exclude_categories=["Cs"])), bom=st.booleans())
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, text: str, bom: bool) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    raw = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    path.write_bytes(raw)
    source = SourceFile.read(path)
    source.write(source.text)
    assert path.read_bytes() == raw


def test_mode_and_symbolic_link_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.sh", tmp_path / "link.sh"
    real.write_text("echo\n")
    real.chmod(0o755)
    link.symlink_to(real)
    SourceFile.read(link).write("echo done\n")
    assert link.is_symlink()
    assert real.read_text() == "echo done\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o755
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.sh", "real.sh"]


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine\n")
    source = SourceFile.read(path)
    path.write_text("theirs\n")
    with pytest.raises(SourceFileError, match="has changed meanwhile"):
        source.write("ours\n")
    assert path.read_text() == "theirs\n"


def test_bad_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    latin, large, folder, absent = (tmp_path / name for name in ("latin", "large", "folder", "absent"))
    latin.write_bytes(b"ok\ncaf\xe9\n")
    large.write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    folder.mkdir()
    for path, sentence in (
        (latin, r"latin is not UTF-8 \(line 2\)"),
        (large, "large is larger than 5 MB"),
        (folder, "folder is a folder"),
        (absent, "absent cannot be read: No such file"),
    ):
        with pytest.raises(SourceFileError, match=sentence):
            SourceFile.read(path)


def test_a_folder_without_room_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("whole\n")
    source = SourceFile.read(path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SourceFileError, match="No space left on device"):
        source.write("half")
    assert path.read_text() == "whole\n"
    assert list(tmp_path.iterdir()) == [path]
