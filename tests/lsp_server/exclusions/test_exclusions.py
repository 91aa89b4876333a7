from __future__ import annotations

from pathlib import Path

import pytest

from lsp_server.exclusions.exclusions import DECISIONS_LAST_S, MAX_CHARACTERS, Exclusions
from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot

OPTIONS = Options()


def why(exclusions: Exclusions, uri: str, options: Options = OPTIONS, text: str = "x") -> str:
    return exclusions.why(DocumentSnapshot(uri, 1, "python", text), options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".gitignore").write_text("*.gen.py\n!kept.gen.py\n")
    (root / "sub/.lacunaignore").write_text("private.py\n")
    for name in ("a.py", "b.gen.py", "kept.gen.py", "sub/private.py", "sub/c.py", ".env"):
        (root / name).write_text("x = 1\n")
    return root


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.py", ""),
        ("sub/c.py", ""),
        ("kept.gen.py", ""),
        ("not/there/yet.py", ""),
        ("b.gen.py", "b.gen.py is ignored: '*.gen.py' in {root}/.gitignore."),
        ("sub/private.py", "private.py is ignored: 'private.py' in {root}/sub/.lacunaignore."),
        (".ENV", ".ENV may hold secrets (.env*); it is never read."),
        ("secrets.py", "secrets.py may hold secrets (secrets.*); it is never read."),
        (".aws/config", "config may hold secrets (.aws/*); it is never read."),
    ],
)
def test_one_sentence_says_why_a_file_is_excluded(root: Path, name: str, reason: str) -> None:
    for exclusions in (Exclusions([root]), Exclusions([root / "sub"]), Exclusions()):
        assert why(exclusions, (root / name).as_uri()) == reason.format(root=root)


def test_the_ignore_files_of_a_repository_hold_in_a_workspace_that_is_a_part_of_it(root: Path) -> None:
    (root / "sub/d.gen.py").touch()
    assert why(Exclusions([root / "sub"]), (root / "sub/d.gen.py").as_uri())


def test_a_workspace_that_is_no_repository_has_ignore_files_too(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / ".lacunaignore").write_text("b/\n")
    uri = (tmp_path / "a/b/c.py").as_uri()
    assert "b/" in why(Exclusions([tmp_path]), uri)
    assert why(Exclusions([tmp_path / "a"]), uri) == "", "what lies above the workspace says nothing"


def test_in_a_workspace_that_is_not_trusted_nothing_is_included_again(root: Path) -> None:
    exclusions = Exclusions([root], trusted=False)
    assert why(exclusions, (root / "a.py").as_uri()) == "", "its own text is enough for suggestions"
    assert why(exclusions, (root / "kept.gen.py").as_uri())
    assert not exclusions.may_read(root / "a.py", OPTIONS)
    assert Exclusions([root]).may_read(root / "a.py", OPTIONS)


@pytest.mark.parametrize(
    ("uri", "silent"),
    [
        ("untitled:Untitled-1", False),
        ("untitled:/home/me/.env", True),
        ("", False),
        ("file:///", False),
        ("a.py", False),
        ("vscode-notebook-cell:/home/me/book.ipynb#W0sZmlsZQ", False),
        ("vscode-notebook-cell:/home/me/secrets.ipynb#W0sZmlsZQ", True),
        ("file:///home/me/a%23b/.env", True),
        ("file:///home/me/a#b/.env", True),
        ("file:///home/me/a?b/.env", True),
        ("file:///C%3A/Users/me/.env", True),
        ("file://server/share/.env", True),
        ("C:\\Users\\me\\.env", True),
        ("file:///home/me/%2Eenv", True),
        ("git:/home/me/a.py?%7B%22ref%22%3A%22~%22%7D", True),
        ("output:extension-output-1", True),
        ("fugitive:///home/me/.git//0/a.py", True),
        ("term://~//1:/bin/sh", True),
        ("vscode-remote://ssh/home/me/a.py", True),
        ("file:///a\0b.py", False),
        ("file:///" + "a/" * 3000 + "b.py", True),
        ("file://[/a.py", False),
    ],
)
def test_what_a_uri_tells(uri: str, silent: bool) -> None:
    assert bool(why(Exclusions([Path("/home/me")]), uri)) is silent


def test_a_view_of_a_file_says_what_it_is() -> None:
    assert why(Exclusions(), "git:/a.py") == "git: documents are shown, not written; they get no suggestions."


def test_a_link_is_where_it_leads(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").touch()
    links = {
        "out.py": tmp_path / "outside.py",
        "env.py": root / ".env",
        "gen.py": root / "b.gen.py",
        "in.py": root / "a.py",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "folder").symlink_to(tmp_path)
    exclusions = Exclusions([root])
    assert why(exclusions, (root / "out.py").as_uri()) == (
        f"out.py leads out of the workspace, to {tmp_path}/outside.py; it is not read."
    )
    assert "out of the workspace" in why(exclusions, (root / "folder/outside.py").as_uri())
    assert why(exclusions, (root / "env.py").as_uri()) == (
        "env.py leads to .env, which may hold secrets (.env*); it is never read."
    )
    assert "which is ignored: '*.gen.py'" in why(exclusions, (root / "gen.py").as_uri())
    assert why(exclusions, (root / "in.py").as_uri()) == ""
    assert why(Exclusions([root, tmp_path]), (root / "out.py").as_uri()) == "", "another folder of the window"
    assert why(Exclusions(), (root / "out.py").as_uri()) == "", "nothing was left"
    (root / "loop.py").symlink_to(root / "loop.py")
    why(exclusions, (root / "loop.py").as_uri())


def test_a_workspace_behind_a_link_is_a_workspace(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    exclusions = Exclusions([tmp_path / "link"])
    assert why(exclusions, (tmp_path / "link/a.py").as_uri()) == ""
    assert why(exclusions, (tmp_path / "link/b.gen.py").as_uri())


def test_a_decision_stands_for_some_seconds_or_until_a_save(root: Path) -> None:
    now = 0.0
    exclusions, uri = Exclusions([root], clock=lambda: now), (root / "a.py").as_uri()
    assert why(exclusions, uri) == ""
    (root / ".gitignore").write_text("a.py\n")
    now += DECISIONS_LAST_S - 1
    assert why(exclusions, uri) == ""
    now += 1.5
    assert why(exclusions, uri)
    (root / ".gitignore").write_text("other.py\n")
    now += 1.5
    assert why(exclusions, uri)
    exclusions.saved()
    assert why(exclusions, uri) == ""


def test_at_a_key_the_disk_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exclusions, uri = Exclusions([root]), (root / "a.py").as_uri()
    exclusions.prepare(uri).join(10)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the disk was asked")

    for name in ("stat", "lstat", "open", "scandir"):
        monkeypatch.setattr(f"os.{name}", forbidden)
    assert why(exclusions, uri) == ""
    with pytest.raises(AssertionError):
        why(exclusions, (root / "sub/c.py").as_uri())


def test_what_the_user_says_comes_first_and_holds_at_once(root: Path) -> None:
    exclusions, uri = Exclusions([root]), (root / "a.py").as_uri()
    assert why(exclusions, uri) == ""
    assert why(exclusions, uri, Options(enabled=False)) == "Suggestions are switched off."
    assert why(exclusions, uri, Options(disabled_languages=("python",))) == "Suggestions are switched off for python."
    assert why(exclusions, uri, Options(excluded_files=("work/*.py",))) == "a.py is excluded by 'work/*.py'."
    assert "5 MB" in why(exclusions, uri, text="x" * (MAX_CHARACTERS + 1))
    assert why(exclusions, uri) == ""
