"""What is known of one language: its names, its grammar, and what its grammar calls things."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar


class Blocks(StrEnum):
    """How a language groups its lines."""

    NONE = "none"
    COLON = "colon"
    BRACE = "brace"
    WORD = "word"
    """by words: do ... end, then ... fi"""
    INDENT = "indent"
    TAG = "tag"


@dataclass(frozen=True, kw_only=True, eq=False)
class Language:
    """One language: its grammar, its names, and the names of what its grammar finds.

    ``module`` and ``function`` give the grammar; ``ids`` are LSP language ids beside ``name``; ``fences`` are words
    behind Markdown's backticks beside the ids and suffixes. ``opener`` is a regular expression for a line below which
    lines are indented deeper; ``closing`` holds what a line begins with that ends such lines, or begins the next ones.
    ``flush_left`` begins lines that stand at the left edge at any depth. ``import_words`` begin a line that imports;
    ``doc_marks`` begin a comment or string that documents. All others are sets of node types: ``bodies`` hold
    statements or declarations, ``functions`` are whatever has a body to fill in.
    """

    name: str
    module: str
    function: str = "language"
    ids: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    fences: tuple[str, ...] = ()
    blocks: Blocks = Blocks.BRACE
    opener: str = ""
    closing: frozenset[str] = frozenset(")]}")
    flush_left: str = ""
    import_words: tuple[str, ...] = ()
    line_comment: str = "//"
    block_comment: tuple[str, str] | None = ("/*", "*/")
    doc_marks: tuple[str, ...] = ()
    strings: frozenset[str] = frozenset({"string"})
    comments: frozenset[str] = frozenset({"comment"})
    bodies: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()


@cache
def grammar(language: Language) -> Grammar:
    """Load a grammar, on first use only: an editor's start must not wait for it."""
    from tree_sitter import Language as Grammar

    return Grammar(getattr(importlib.import_module(language.module), language.function)())
