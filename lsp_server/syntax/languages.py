"""Which grammar reads a document, and by what name the model knows its language."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar

PLAIN_TEXT = "plaintext"


@dataclass(frozen=True)
class Language:
    """One language that gaps are found in by its syntax.

    ``module`` and ``function`` give the grammar; ``blocks`` says what begins a block at a line's end.
    """

    name: str
    module: str
    function: str = "language"
    blocks: str = "{"
    line_comment: str = "//"


PYTHON = Language("python", "tree_sitter_python", blocks=":", line_comment="#")
JAVASCRIPT = Language("javascript", "tree_sitter_javascript")
TYPESCRIPT = Language("typescript", "tree_sitter_typescript", "language_typescript")
TSX = Language("tsx", "tree_sitter_typescript", "language_tsx")
MARKDOWN = Language("markdown", "tree_sitter_markdown", blocks="", line_comment="")

_BY_ID = {
    "python": PYTHON,
    "javascript": JAVASCRIPT,
    "javascriptreact": JAVASCRIPT,
    "typescript": TYPESCRIPT,
    "typescriptreact": TSX,
    "tsx": TSX,
    "markdown": MARKDOWN,
}
_BY_FENCE = _BY_ID | {"py": PYTHON, "python3": PYTHON, "js": JAVASCRIPT, "jsx": JAVASCRIPT, "ts": TYPESCRIPT}

_ID_BY_SUFFIX = {
    ".py": "python",
    ".pyi": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".jsx": "javascriptreact",
    ".ts": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
    ".tsx": "typescriptreact",
    ".md": "markdown",
    ".markdown": "markdown",
    ".json": "json",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".sh": "shellscript",
    ".css": "css",
    ".html": "html",
}


def language_id_of(path: PurePath) -> str:
    """The LSP language id that an editor would give this file; ``plaintext`` if its name tells nothing."""
    return _ID_BY_SUFFIX.get(path.suffix.lower(), PLAIN_TEXT)


def language_of(language_id: str, uri: str = "") -> Language | None:
    """The language of a document, by its id, else by its file name; None means plain text rules."""
    known = _BY_ID.get(language_id)
    if known is None and language_id in ("", PLAIN_TEXT):
        known = _BY_ID.get(language_id_of(PurePath(uri)))
    return known


def language_of_fence(info: str) -> Language | None:
    """The language of a Markdown code fence, by the first word after its backticks."""
    words = info.split()
    return _BY_FENCE.get(words[0].lower()) if words else None


def model_language_id(language_id: str, uri: str = "") -> str:
    """The name that goes to the model: one grammar, one name."""
    known = language_of(language_id, uri)
    return known.name if known else language_id or PLAIN_TEXT


@cache
def grammar(language: Language) -> Grammar:
    """Load a grammar, on first use only: an editor's start must not wait for it."""
    from tree_sitter import Language as Grammar

    return Grammar(getattr(importlib.import_module(language.module), language.function)())
