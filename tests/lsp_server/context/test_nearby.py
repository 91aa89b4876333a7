from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lsp_server.context.nearby import REFRESH_S, Bounds, Nearby, nearby_files
from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot

OPTIONS = Options()

PROJECT = {
    "shop/cart.py": "from shop.money import Price\nfrom .discounts import rebate\n\n\ndef total():\n    ",
    "shop/money.py": "class Price: ...\n",
    "shop/discounts.py": "def rebate(): ...\n",
    "shop/zoo.py": "animals = 1\n",
    "shop/notes.md": "# no code\n",
    "shop/deep/er/far.py": "far = 1\n",
    "tests/shop/test_cart.py": "def test_total(): ...\n",
    "tests/shop/test_zoo.py": "def test_zoo(): ...\n",
    "setup.py": "import setuptools\n",
    ".gitignore": "generated/\n*.tmp.py\n",
    "generated/parser.py": "tables = ()\n",
    "shop/scratch.tmp.py": "x = 1\n",
    "shop/secrets.py": "password = 1\n",
    "node_modules/tool/gyp.py": "x = 1\n",
    ".venv/lib/thing.py": "x = 1\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


def document(path: Path, language_id: str = "python") -> DocumentSnapshot:
    return DocumentSnapshot(path.as_uri(), 1, language_id, path.read_text() if path.exists() else "")


def names(found: tuple[DocumentSnapshot, ...], project: Path) -> list[str]:
    return [one.uri.removeprefix(project.as_uri() + "/") for one in found]


OPENED: list[str] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and OPENED is not None:
        OPENED.append(str(arguments[0]))


sys.addaudithook(_listen)  # there is no way to remove one


@contextmanager
def opened() -> Iterator[list[str]]:
    """The names of all files that are opened meanwhile."""
    global OPENED
    OPENED = []
    try:
        yield OPENED
    finally:
        OPENED = None


def test_what_is_imported_and_the_test_come_first_then_what_is_near(project: Path) -> None:
    found = nearby_files(document(project / "shop/cart.py"), Exclusions([project]), OPTIONS)
    assert names(found, project) == [
        "shop/discounts.py",
        "shop/money.py",
        "tests/shop/test_cart.py",
        "shop/zoo.py",
        "setup.py",
        "shop/deep/er/far.py",
        "tests/shop/test_zoo.py",
    ]
    assert found[0].text == PROJECT["shop/discounts.py"]
    assert found[0].language_id == "python"


def test_nothing_excluded_is_even_opened(project: Path) -> None:
    with opened() as files:
        nearby_files(document(project / "shop/cart.py"), Exclusions([project]), OPTIONS)
    assert any(file.endswith("money.py") for file in files), "the hook hears nothing"
    for name in ("generated/parser.py", "scratch.tmp.py", "secrets.py", "gyp.py", "thing.py", "notes.md"):
        assert not any(file.endswith(name) for file in files), name


def test_links_and_pipes_are_left_alone(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("x = 1\n")
    (project / "shop/link.py").symlink_to(tmp_path / "outside.py")
    (project / "shop/folder").symlink_to(tmp_path)
    os.mkfifo(project / "shop/pipe.py")
    (project / "shop/latin.py").write_bytes("é = 1".encode("latin-1"))
    (project / "shop/null.py").write_bytes(b"x\0y")
    found = names(nearby_files(document(project / "shop/cart.py"), Exclusions([project]), OPTIONS), project)
    assert "shop/zoo.py" in found
    assert not {"shop/link.py", "shop/folder/outside.py", "shop/pipe.py", "shop/latin.py", "shop/null.py"} & set(found)


def test_without_a_workspace_only_its_own_folder(project: Path) -> None:
    found = names(nearby_files(document(project / "shop/cart.py"), Exclusions(), OPTIONS), project)
    assert found == ["shop/discounts.py", "shop/money.py", "shop/scratch.tmp.py", "shop/zoo.py"]


def test_a_workspace_that_is_not_trusted_is_not_read(project: Path) -> None:
    cart = document(project / "shop/cart.py")
    with opened() as files:
        assert nearby_files(cart, Exclusions([project], trusted=False), OPTIONS) == ()
    assert files == []


@pytest.mark.parametrize(
    "uri", ["untitled:Untitled-1", "file:///", "file:///no/such/folder/a.py", "git:/a/b.py?x", "", "file://[/a.py"]
)
def test_what_is_no_file_has_none_near_it(uri: str) -> None:
    assert nearby_files(DocumentSnapshot(uri, 1, "python", "x"), Exclusions(), OPTIONS) == ()


def test_the_bounds_hold(project: Path) -> None:
    for number in range(30):
        (project / f"shop/many{number:02}.py").write_text("#" * 1000)
    (project / "shop/huge.py").write_text("#" * 5000)
    cart, exclusions = document(project / "shop/cart.py"), Exclusions([project])

    def found(**bounds: float) -> tuple[DocumentSnapshot, ...]:
        return nearby_files(cart, exclusions, OPTIONS, bounds=Bounds(**bounds))  # type: ignore[arg-type]

    assert len(found(files=5)) == 5
    assert sum(len(one.text) for one in found(total_bytes=10_000)) <= 10_000
    assert not any("huge" in one.uri for one in found(file_bytes=4999))
    assert found(seconds=-1) == ()
    assert len(found(entries=10)) < 10
    assert nearby_files(cart, exclusions, OPTIONS, stopped=lambda: True) == ()


class Window:
    """What a session does, with a clock."""

    def __init__(self, project: Path) -> None:
        self.now = 0.0
        self.exclusions = Exclusions([project])
        self.nearby = Nearby(lambda: self.now)
        self.cart = document(project / "shop/cart.py")

    def at_once(self) -> tuple[DocumentSnapshot, ...]:
        return self.nearby.files(self.cart, self.exclusions, OPTIONS)

    def after_a_while(self) -> tuple[DocumentSnapshot, ...]:
        self.at_once()
        self.nearby.wait(10)
        return self.at_once()


def test_the_first_answer_does_not_wait_and_the_next_knows(project: Path) -> None:
    window = Window(project)
    assert window.at_once() == ()
    assert len(window.after_a_while()) == 7


def test_after_a_save_or_a_minute_only_what_changed_is_another_object(project: Path) -> None:
    window = Window(project)
    before = {one.uri: one for one in window.after_a_while()}
    (project / "shop/zoo.py").write_text("animals = 22\n")
    assert {one.uri: one for one in window.after_a_while()} == before, "nothing said that a file changed"
    for pause in (True, False):
        if pause:
            window.now += REFRESH_S + 1
        else:
            window.nearby.saved()
        assert window.at_once(), "what was known serves meanwhile"
        after = {one.uri: one for one in window.after_a_while()}
        changed = [uri for uri, one in after.items() if one is not before[uri]]
        assert changed == [(project / "shop/zoo.py").as_uri()]
        before = after
        (project / "shop/zoo.py").write_text("animals = 333\n")


def test_another_policy_starts_from_nothing(project: Path) -> None:
    window = Window(project)
    assert window.after_a_while()
    window.exclusions = Exclusions([project], trusted=False)
    assert window.at_once() == ()
    assert window.after_a_while() == ()


def test_closed_it_reads_no_more(project: Path) -> None:
    window = Window(project)
    window.nearby.close()
    assert window.after_a_while() == ()
