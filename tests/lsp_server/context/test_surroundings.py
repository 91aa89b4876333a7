from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.session import Session
from lsp_server.snapshot import Change, DocumentSnapshot
from tests.support.scripted_client import Script, ScriptedClient


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    for name in ("here.py", "other.py", "closed.py", "ignored.py", ".env"):
        (tmp_path / name).write_text(f"name = {name!r}\n")
    return tmp_path


@pytest.fixture
def session(folder: Path) -> Session:
    """A window with all but one of the files open, each edited once."""
    session = Session(lambda: ScriptedClient(Script()))
    session.exclusions = Exclusions([folder])
    for name in (".env", "ignored.py", "other.py", "here.py"):
        uri = uri_of(folder, name)
        session.documents.open(DocumentSnapshot(uri, 1, "python", (folder / name).read_text()))
        session.documents.change(uri, [Change("# typed\n", ((0, 0), (0, 0)))], 2, session.encoding)
    return session


def uri_of(folder: Path, name: str) -> str:
    return (folder / name).as_uri()


def test_what_may_be_read_beside_a_document(session: Session, folder: Path) -> None:
    uri = uri_of(folder, "here.py")
    assert session.surroundings(uri).nearby == (), "nobody waits for the disk"
    session.nearby.wait(10)
    found = session.surroundings(uri)
    for _ in range(2):  # several readers each read all of it
        assert [one.uri for one in found.others] == [uri_of(folder, "other.py")]
        assert [one.uri for one in found.nearby] == [uri_of(folder, "closed.py")]
    assert [edit.uri for edit in found.edits] == [uri, uri_of(folder, "other.py")]


def test_where_nobody_is_trusted_a_document_has_only_itself(session: Session, folder: Path) -> None:
    uri = uri_of(folder, "here.py")
    session.exclusions = Exclusions([folder], trusted=False)
    session.surroundings(uri)
    session.nearby.wait(10)
    found = session.surroundings(uri)
    assert (found.others, found.nearby) == ((), ())
    assert [edit.uri for edit in found.edits] == [uri]


def test_a_save_has_files_and_ignore_files_read_again(session: Session, folder: Path) -> None:
    uri = uri_of(folder, "here.py")
    session.surroundings(uri)
    session.nearby.wait(10)
    (folder / "closed.py").write_text("name = 'changed'\n")
    session.saved()
    session.surroundings(uri)
    session.nearby.wait(10)
    assert [one.text for one in session.surroundings(uri).nearby] == ["name = 'changed'\n"]


def test_however_many_are_open_few_are_looked_at(session: Session, folder: Path) -> None:
    here = session.documents.get(uri_of(folder, "here.py"))
    assert here
    for number in range(200):
        session.documents.open(replace(here, uri=f"untitled:{number}"))
    others = list(session.surroundings(here.uri).others)
    assert others[0].uri == "untitled:199"
    assert len(others) <= 32
