"""Where Lacuna stays silent, whatever the settings: secrets, and files that are data."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot

MAX_CHARACTERS = 5_000_000
SECRETS = (".env*", "*.env", "*.pem", "*.key", "*.cert", "*.crt", "secrets.*", ".netrc", ".dev.vars")


def why_excluded(snapshot: DocumentSnapshot, options: Options) -> str:
    """One sentence that says why this document gets no suggestions; empty if it may get some."""
    if not options.enabled:
        return "Suggestions are switched off."
    if snapshot.language_id in options.disabled_languages:
        return f"Suggestions are switched off for {snapshot.language_id}."
    path = PurePosixPath(unquote(urlsplit(snapshot.uri).path).replace("\\", "/"))
    if pattern := next((glob for glob in SECRETS if fnmatchcase(path.name.lower(), glob)), None):
        return f"{path.name} may hold secrets ({pattern}); it is never read."
    if pattern := next((glob for glob in options.excluded_files if _matches(path, glob)), None):
        return f"{path.name} is excluded by {pattern!r}."
    if len(snapshot.text) > MAX_CHARACTERS:
        return f"{path.name} is larger than {MAX_CHARACTERS // 1_000_000} MB."
    return ""


def _matches(path: PurePosixPath, glob: str) -> bool:
    return fnmatchcase(path.name, glob) or fnmatchcase(str(path), glob if glob.startswith("/") else f"*/{glob}")
