"""One file has one path, however an editor writes its URI."""

from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest

from lsp_server.uris import path_of

WINDOWS = {
    "file:///c%3A/Users/me/a.py": "c:/Users/me/a.py",
    "file:///C:/Users/me/a.py": "c:/Users/me/a.py",
    "file:///c:/Users/./you/../me/a.py": "c:/Users/me/a.py",
    "file:////c:/Users/me/a.py": "c:/Users/me/a.py",
    "FILE:///C%3a/Users/me/a%20b%23.py": "c:/Users/me/a b#.py",
    "file://server/share/a.py": "//server/share/a.py",
    "file://SERVER/share/a.py": "//server/share/a.py",
    "vscode-notebook-cell:/c%3A/Users/me/n.ipynb#W0sZmlsZQ%3D%3D": "c:/Users/me/n.ipynb",
}
POSIX = {
    "file:///home/me/a.py": "/home/me/a.py",
    "file://localhost/home/me/a.py": "/home/me/a.py",
    "file:///home/me/%E2%82%AC%20100%25.py": "/home/me/€ 100%.py",
    "file:///home/me/../you/./a.py": "/home/you/a.py",
    "file:////home/me/a.py": "/home/me/a.py",
    "file:///home/me/a%3Fb.py?x=1#y": "/home/me/a?b.py",
    "file:///home/me/%ff.py": "/home/me/\ufffd.py",
    "vscode-notebook-cell:/home/me/n.ipynb#W0sZmlsZQ%3D%3D": "/home/me/n.ipynb",
}
NOWHERE = ["untitled:Untitled-1", "https://example.org/a.py", "git:/home/me/a.py?x", "", "a.py", "file:", "file:a.py"]
NOWHERE += ["file://[half/a.py", "file:///a%00b.py", "zipfile:///a.zip::b.py"]


@pytest.mark.parametrize(("uri", "path"), WINDOWS.items())
def test_windows(uri: str, path: str) -> None:
    found = path_of(uri, windows=True)
    assert found == PureWindowsPath(path)
    assert str(found).startswith(str(PureWindowsPath(path))[:2]), "the drive is in lower case"


@pytest.mark.parametrize(("uri", "path"), POSIX.items())
def test_posix(uri: str, path: str) -> None:
    assert path_of(uri, windows=False) == PurePosixPath(path)


@pytest.mark.parametrize("windows", [True, False])
@pytest.mark.parametrize("uri", NOWHERE)
def test_what_is_no_file_of_this_machine(uri: str, windows: bool) -> None:
    nothing: PurePath | None = path_of(uri, windows=windows)
    assert nothing is None
