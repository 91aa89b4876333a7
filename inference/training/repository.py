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
SECONDS = 120  # for git to list a repository

SECRETS = (
    # Environments and settings that exist to hold secrets; code has no other place for them, hence also `secrets.py`.
    ".env*", "*.env", ".dev.vars", "secrets.*", "*.secrets", "secret.yaml", "secret.yml", ".secrets", "secrets",
    "credentials", "credentials.*", ".credentials*", "*-credentials.json", "*_credentials.json", "client_secret*.json",
    "service-account*.json", "service_account*.json", "serviceaccount*.json", "wp-config.php",
    # Keys, certificates and the stores that hold them.
    "*.pem", "*.key", "*.cert", "*.crt", "*.cer", "*.der", "*.p7b", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore",
    "*.ppk", "*.gpg", "*.pgp", "*.kdb", "*.kdbx", "*.agilekeychain", "*.keychain", "*.keychain-db", "*.ovpn",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh/*", ".gnupg/*", ".password-store/*",
    # Log-ins of tools.
    ".netrc", "_netrc", ".git-credentials", ".npmrc", ".yarnrc*", ".pypirc", ".pgpass", ".my.cnf", ".htpasswd",
    ".dockercfg", ".dockerconfigjson", ".docker/config.json", "kubeconfig", ".kube/config", ".aws/*", ".azure/*",
    ".s3cfg", ".passwd-s3fs", ".boto", ".config/gcloud/*", ".config/gh/hosts.yml", ".m2/settings.xml",
    ".gradle/gradle.properties", ".vault-token", ".vault_pass*", "vault_pass*", ".terraformrc", "terraform.rc",
    "*.tfvars", "*.tfvars.json", "*.tfstate", "*.tfstate.*",
    # What was typed into a terminal.
    ".*_history",
)  # fmt: skip
"""As in lsp_server/exclusions/secrets.py, which this room must not import; a test holds the two equal."""


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
    """Whether a file may hold secrets, by its name, or by the end of its path for a glob with a slash."""
    whole, name = f"/{path}".lower(), PurePosixPath(path).name.lower()
    return any(fnmatchcase(whole, f"*/{glob}") if "/" in glob else fnmatchcase(name, glob) for glob in SECRETS)


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
