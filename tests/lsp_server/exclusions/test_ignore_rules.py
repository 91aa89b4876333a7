from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lsp_server.exclusions.ignore_rules import MAX_BYTES, IgnoreRules

RULES = (
    "build/", "*.log", "!keep.log", "/only_here", "docs/**/draft", "data/*", "!data/keep", "**/cache/*.bin", "foo/bar",
    "!foo/bar", "a?c", "[xyz].txt", "[!x]y", "\\#name", "\\!bang", "trailing\\ ", "sp ace", "# comment", "", "/", "a",
    "!a/", "**/a/**", "*", "!*/", "!/src", "sub/", "!sub/x", "x",
)  # fmt: skip
NAMES = (
    "a", "abc", "x", "sub", "src", "build", "data", "keep", "keep.log", "z.log", "foo", "bar", "x.txt", "#name",
    "!bang", "cache", "c.bin", "docs", "draft", "only_here", "sp ace",
)  # fmt: skip

PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
SOME_RULES = st.lists(st.sampled_from(RULES), max_size=3)
FILES = st.dictionaries(
    st.sampled_from(["", "a/", "sub/", "src/", "data/", "sub/a/", "foo/"]),
    st.lists(st.sampled_from(RULES), max_size=6),
    max_size=3,
)


def repository(folder: Path, ignore: Mapping[str, list[str]], name: str = ".gitignore") -> None:
    for place, rules in ignore.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / name).write_text("\n".join(rules) + "\n")


@pytest.mark.skipif(not shutil.which("git"), reason="git is the judge")
@settings(max_examples=40, deadline=None)
@given(
    ignore=FILES, exclude=st.lists(st.sampled_from(RULES), max_size=3), paths=st.lists(PATHS, min_size=1, max_size=12)
)
@example(ignore={"": ["*.log"], "sub/": ["!z.log"]}, exclude=["!keep.log"], paths=["sub/z.log", "z.log", "keep.log"])
@example(ignore={"": ["!*/"]}, exclude=["\\#name"], paths=["a/#name"])
@example(ignore={"": ["!a"]}, exclude=["*.log"], paths=["a/z.log"])
@example(ignore={"": ["!z.log"], "sub/": ["*.log"]}, exclude=["*.log"], paths=["sub/z.log", "z.log", "keep.log"])
def test_git_says_the_same(ignore: dict[str, list[str]], exclude: list[str], paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".git/info").mkdir(parents=True)
        (folder / ".git/objects").mkdir()
        (folder / ".git/refs").mkdir()
        (folder / ".git/HEAD").write_text("ref: refs/heads/main\n")
        (folder / ".git/info/exclude").write_text("\n".join(exclude))
        repository(folder, ignore)
        for path in paths:
            try:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).touch()
            except OSError:
                continue  # a file stands where a folder should
        files = [path for path in paths if (folder / path).is_file()]
        command = ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin", "-z"]
        asked = "\0".join(files).encode()
        said = subprocess.run(command, cwd=folder, input=asked, capture_output=True, timeout=30, check=False).stdout
        ignored = {path for path in said.decode().split("\0") if path}
        rules = IgnoreRules()
        assert {path for path in files if rules.why(folder / path, folder)} == ignored


@pytest.mark.skipif(not shutil.which("git"), reason="git makes the worktree")
def test_a_worktree_is_excluded_by_what_its_repository_excludes(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=30)

    git("init", "main")
    git("-C", "main", "commit", "--allow-empty", "-m", "first")
    git("-C", "main", "worktree", "add", "../other")
    (tmp_path / "main/.git/info/exclude").write_text("private.py\n")
    assert IgnoreRules().why(tmp_path / "other/private.py", tmp_path / "other")
    assert not IgnoreRules().why(tmp_path / "other/public.py", tmp_path / "other")
    (tmp_path / "other/.git").write_text("gitdir: /nowhere\0")
    assert not IgnoreRules().why(tmp_path / "other/private.py", tmp_path / "other")


def test_our_own_file_excludes_more_and_never_less(tmp_path: Path) -> None:
    repository(tmp_path, {"": ["*.gen.py"], "sub/": ["!free.gen.py"]})
    repository(tmp_path, {"": ["private/", "!a.gen.py"], "sub/": ["*", "!open.py"]}, ".lacunaignore")
    rules = IgnoreRules()
    said = {
        name: rules.why(tmp_path / name, tmp_path) for name in ("a.gen.py", "b.py", "private/deep/c.py", "sub/x.py")
    }
    assert said == {
        "a.gen.py": f"'*.gen.py' in {tmp_path}/.gitignore",
        "b.py": "",
        "private/deep/c.py": f"'private/' in {tmp_path}/.lacunaignore",
        "sub/x.py": f"'*' in {tmp_path}/sub/.lacunaignore",
    }
    assert rules.why(tmp_path / "sub/open.py", tmp_path) == ""
    assert rules.why(tmp_path / "private", tmp_path, folder=True)
    assert not rules.why(tmp_path / "private", tmp_path), "a file of that name is none of the folders"


def test_where_nobody_is_trusted_nothing_is_included_again(tmp_path: Path) -> None:
    repository(tmp_path, {"": ["*.py", "!a.py"]})
    assert IgnoreRules().why(tmp_path / "a.py", tmp_path) == ""
    assert "*.py" in IgnoreRules(widening=False).why(tmp_path / "a.py", tmp_path)


def test_a_changed_file_is_read_again_but_looked_at_once_a_second(tmp_path: Path) -> None:
    now = 0.0
    rules = IgnoreRules(clock=lambda: now)
    repository(tmp_path, {"": ["a.py"]})
    assert rules.why(tmp_path / "a.py", tmp_path)
    (tmp_path / ".gitignore").write_text("other.py\n")
    assert rules.why(tmp_path / "a.py", tmp_path)
    now += 2
    assert not rules.why(tmp_path / "a.py", tmp_path)
    (tmp_path / ".gitignore").unlink()
    now += 2
    assert not rules.why(tmp_path / "other.py", tmp_path)


def test_rules_that_cannot_be_known_exclude_all(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("#" * (MAX_BYTES + 1))
    assert "too large" in IgnoreRules().why(tmp_path / "a.py", tmp_path)


def test_what_is_no_file_holds_no_rules_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".gitignore")
    (tmp_path / ".lacunaignore").mkdir()
    assert IgnoreRules().why(tmp_path / "a.py", tmp_path) == ""


@pytest.mark.timeout(30)
def test_a_rule_that_would_take_ages_excludes_more(tmp_path: Path) -> None:
    repository(tmp_path, {"": ["*a" * 20 + "b", "!" + "*c" * 20]})
    name = "a" * 200
    assert IgnoreRules().why(tmp_path / name, tmp_path)
    assert not IgnoreRules().why(tmp_path / ("c" * 200), tmp_path)


@pytest.mark.parametrize("text", ["!\n", "\\", "[a\n", "a[\n", "\xff\xfe", "\0", "a\r\n", "\ufeffa\n"])
def test_any_bytes_may_stand_in_it(tmp_path: Path, text: str) -> None:
    (tmp_path / ".gitignore").write_bytes(text.encode("latin-1", "ignore") if "\xff" in text else text.encode())
    assert bool(IgnoreRules().why(tmp_path / "a", tmp_path)) == ("a" in text and "[" not in text)
