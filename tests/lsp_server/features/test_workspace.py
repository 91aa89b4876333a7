"""The folders and the trust of a window reach what decides over reading."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.wire import Wire


def folders(*names: str) -> list[dict[str, str]]:
    return [{"uri": f"file:///{name}", "name": name} for name in names]


@pytest.mark.parametrize(
    ("params", "roots"),
    [
        ({"workspaceFolders": folders("a", "b%20c"), "rootUri": "file:///z"}, ["/a", "/b c"]),
        ({"rootUri": "file:///a/../b", "rootPath": "/z"}, ["/b"]),
        ({"rootPath": "/a"}, ["/a"]),
        ({"workspaceFolders": None, "rootUri": None}, []),
        ({"workspaceFolders": [], "rootUri": None}, []),
        ({"workspaceFolders": [{"uri": "vscode-vfs://github/a/b", "name": "b"}]}, []),
        ({"workspaceFolders": folders("a", "a", "%61")}, ["/a"]),
        ({"rootPath": "relative"}, []),
    ],
)
async def test_the_folders_at_the_start(params: dict[str, Any], roots: list[str]) -> None:
    wire = Wire()
    await wire.start(**params)
    assert wire.session.exclusions.roots == tuple(map(Path, roots))
    assert wire.session.exclusions.trusted


async def test_folders_come_and_go() -> None:
    wire = Wire()
    await wire.start(workspaceFolders=folders("a", "b"))
    before = wire.session.exclusions
    event = {"added": folders("c"), "removed": folders("a", "never")}
    wire.send("workspace/didChangeWorkspaceFolders", {"event": event})
    assert wire.session.exclusions is not before
    assert wire.session.exclusions.roots == (Path("/b"), Path("/c"))


async def test_trust_is_said_at_the_start_and_may_change() -> None:
    wire = Wire()
    await wire.start(initializationOptions={"trusted": False}, workspaceFolders=folders("a"))
    assert not wire.session.exclusions.trusted
    for said, holds in (({"trusted": True}, True), ({"trusted": "yes"}, False), ({"trusted": True}, True), ({}, False)):
        wire.send("lacuna/didChangeTrust", said)
        assert wire.session.exclusions.trusted is holds
        assert wire.session.exclusions.roots == (Path("/a"),)


async def test_ignore_files_are_watched_where_the_editor_can_and_read_again() -> None:
    wire = Wire()
    wire.answers["client/registerCapability"] = lambda _: None
    await wire.start({"workspace": {"didChangeWatchedFiles": {"dynamicRegistration": True}}})
    (wish,) = await wire.until(lambda: wire.named("client/registerCapability"))
    (registration,) = wish["registrations"]
    assert registration["method"] == "workspace/didChangeWatchedFiles"
    watched = [watcher["globPattern"] for watcher in registration["registerOptions"]["watchers"]]
    assert watched == ["**/.gitignore", "**/.lacunaignore"]
    before = wire.session.exclusions
    change = {"uri": "file:///a/.gitignore", "type": 2}
    wire.send("workspace/didChangeWatchedFiles", {"changes": [change]})
    assert wire.session.exclusions is not before
