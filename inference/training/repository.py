"""The files of a user's repository that may be learnt from: never what ignore rules or secret globs exclude.

git itself reads `.gitignore` and, with the same syntax, `.lacunaignore`; it does so in a plain folder as well.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from inference.training.corpus import LANGUAGES, Document, is_worth_learning

IGNORE_FILE = ".lacunaignore"
# As in lsp_server/suggestions/exclusions.py, which this room must not import; a test holds the two equal.
SECRETS = (".env*", "*.env", "*.pem", "*.key", "*.cert", "*.crt", "secrets.*", ".netrc", ".dev.vars")
SECONDS = 120  # for git to list a repository


def listed_files(repo: Path) -> list[str]:
    """Paths in `repo` that no ignore rule excludes, sorted. A folder that is none, or no git, is a `ValueError`."""
    if not repo.is_dir():
        raise ValueError(f"{repo} is not a folder; give the root of a repository")
    ignored_here = ["--others", "--ignored", f"--exclude-per-directory={IGNORE_FILE}"]
    if _git(repo, "rev-parse", "--is-inside-work-tree") is not None:
        found = _paths(repo, "--cached", "--others", "--exclude-standard")
        # What is tracked can be excluded by our own file, and by an ignore rule that came after it was added.
        found -= _paths(repo, "--cached", "--ignored", "--exclude-standard")
        found -= _paths(repo, "--cached", *ignored_here) | _paths(repo, *ignored_here)
        return sorted(found)
    with tempfile.TemporaryDirectory() as empty:
        if _git(Path(empty), "init", "--quiet", "--bare", ".") is None:
            raise ValueError(f"git could not be started, and it reads the ignore rules of {repo}; install it")
        outside = (f"--git-dir={empty}", f"--work-tree={repo.resolve()}")
        found = _paths(repo, "--others", "--exclude-per-directory=.gitignore", before=outside)
        return sorted(found - _paths(repo, *ignored_here, before=outside))


def _paths(repo: Path, *options: str, before: tuple[str, ...] = ()) -> set[str]:
    listed = _git(repo, *before, "ls-files", "-z", *options)
    if listed is None:
        raise ValueError(f"git could not list the files of {repo}; run `git status` there to see why")
    return {path for path in listed.split("\0") if path}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def is_secret(path: str) -> bool:
    """Whether a file may hold secrets, by its name."""
    name = PurePosixPath(path).name.lower()
    return any(fnmatchcase(name, pattern) for pattern in SECRETS)


def read_repository(repo: Path) -> list[Document]:
    """The documents of `repo` that are worth learning from."""
    return list(_documents(repo, listed_files(repo)))


def _documents(repo: Path, paths: list[str]) -> Iterator[Document]:
    seen: set[str] = set()
    for path in paths:
        language = LANGUAGES.get(PurePosixPath(path).suffix)
        file = repo / path
        if language is None or is_secret(path) or file.is_symlink() or not file.is_file():
            continue
        try:
            text = file.read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        document = Document(repo.resolve().name, path, language, text)
        if text not in seen and is_worth_learning(document):
            seen.add(text)
            yield document
