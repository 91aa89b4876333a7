"""Brackets, quotes and syntax: as sound with the fill as without it."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from lsp_server.positions import utf8
from lsp_server.suggestions.code_tokens import PAIRS
from lsp_server.suggestions.site import Site, broken
from lsp_server.syntax.cursor import CLOSERS, indent_of
from lsp_server.syntax.languages import Blocks
from lsp_server.syntax.trees import MAX_ERRORS, SyntaxTree

if TYPE_CHECKING:
    from tree_sitter import Node

_HARMLESS = re.compile(r"[\w\s.,;:!?+=-]*")
"""In a string or a comment, text of these characters cannot end it."""

_MOST_SIBLINGS = 2000
_MISTRUSTED = 3
"""So many places around that do not parse say that the grammar does not know this dialect."""


def cut_unbalanced_closers(text: str, site: Site) -> str:
    """Cut before the first closer that neither the fill nor an unclosed bracket before the gap has opened.

    What the grammar reads without fault stays: in broken code the bracket around the gap may be another than it seems.
    """
    if not site.is_code:
        return text
    expected = list(reversed(site.gap.unclosed))
    for index, char in site.code(text):
        if char in PAIRS:
            expected.append(PAIRS[char])
        elif char in CLOSERS and (not expected or expected.pop() != char):
            stays = _reads_better(text, text[:index], site) or _closes_what_precedes(text[:index], site)
            return text if stays else text[:index]
    return text


def require_balance(text: str, site: Site) -> str:
    """Drop text with a bracket or a quote that finds no partner, in a document that was broken already, too."""
    if not site.is_code or not text:
        return text
    closers, openers = _unpaired(text, site)
    leaves_quote = bool(site.tokens(text).open_quote) and bool(site.tokens(text + site.after).open_quote)
    if not closers and not openers and not leaves_quote:
        return text
    tree = site.filled(text)
    if tree is None and site.language is not None:  # it takes too long to parse: then brackets and quotes alone decide
        return "" if leaves_quote or any(not _opens_what_follows(text, one, site) for one in openers) else text
    if tree is None or not tree.root.has_error:
        return text
    if leaves_quote:
        return ""
    closers = [place for place in closers if not _closes_what_precedes(text[:place], site)]
    openers = [place for place in openers if not _opens_what_follows(text, place, site)]
    places = (site.span[0] + len(utf8(text[:place])) for place in closers + openers)
    return text if all(_is_paired(tree, place) for place in places) else ""


def require_syntax(text: str, site: Site) -> str:
    """Drop text that breaks the syntax in more places than are broken now."""
    if not text or site.tree is None or (not site.is_code and _HARMLESS.fullmatch(text)):
        return text
    after = site.filled(text)
    if after is None:
        return text
    if site.language is not None and site.language.blocks is Blocks.TAG and _closes_no_element(after, text, site):
        return ""
    now, elsewhere = after.errors(), site.errors_elsewhere
    if not now or elsewhere >= _MISTRUSTED:
        return text
    if _is_within(after, text, site) and (not elsewhere or now > site.tree.errors()):
        return ""
    if elsewhere or now <= (errors := site.tree.errors()):
        return text
    _, openers = _unpaired(text, site)
    goes_on = errors and site.is_code and openers and all(_opens_what_follows(text, one, site) for one in openers)
    return text if goes_on else ""


def _is_within(tree: SyntaxTree, text: str, site: Site) -> bool:
    """Whether what does not parse lies in the fill, but for the separator before it."""
    start = site.span[0]
    end = start + len(utf8(text))
    start = len(tree.source[:start].rstrip(b" \t\r\n,;"))
    nodes = islice(broken(tree.root), MAX_ERRORS)
    # What is missing at the very end may be what the user types next.
    return any(start <= node.start_byte and node.end_byte <= end and node.start_byte < end for node in nodes)


def _closes_no_element(tree: SyntaxTree, text: str, site: Site) -> bool:
    """Whether a page's fill has an end tag for an element that is not open; the grammar's word is no error."""
    start = site.span[0]
    end = start + len(utf8(text))
    pending = [tree.root]
    while pending:
        node = pending.pop()
        if node.type == "erroneous_end_tag" and start <= node.start_byte:
            return True
        pending.extend(child for child in node.children if child.start_byte < end and child.end_byte > start)
    return False


def _unpaired(text: str, site: Site) -> tuple[list[int], list[int]]:
    """Places of the closers and of the openers that find no partner in the fill itself."""
    closers: list[int] = []
    openers: list[tuple[int, str]] = []
    for place, char in site.tokens(text).brackets:
        if char in PAIRS:
            openers.append((place, PAIRS[char]))
        elif openers and openers[-1][1] == char:
            openers.pop()
        else:
            closers.append(place)
    return closers, [place for place, _ in openers]


def _reads_better(text: str, shorter: str, site: Site) -> bool:
    whole = site.filled(text)
    if whole is None or site.tree is None:
        return False
    errors = whole.errors()
    if errors == 0:
        return True
    cut = site.filled(shorter)
    return cut is not None and errors < cut.errors() and errors <= site.tree.errors()


def _opens_what_follows(text: str, place: int, site: Site) -> bool:
    """Whether an opener at a line's end is gone on with by deeper lines below: they say more than a lost grammar."""
    lines = (site.before + text[: place + 1]).split("\n")
    rest = (text[place + 1 :] + site.after).split("\n")[0].strip()
    return (not rest or rest in PAIRS) and len(site.indent_below) > len(indent_of(lines[-1]))


def _closes_what_precedes(kept: str, site: Site) -> bool:
    """Whether a closer begins a line below deeper ones, in code that does not parse as it is."""
    broken = site.tree is not None and site.tree.root.has_error
    return broken and not kept.strip() and not site.before.strip() and len(site.indent_above) > len(site.before)


def _is_paired(tree: SyntaxTree, byte: int) -> bool:
    """Whether the bracket at ``byte`` has its partner among its siblings, with sound syntax in between."""
    node = tree.root.descendant_for_byte_range(byte, byte + 1)
    if node is None or node.parent is None:
        return True
    siblings = list(islice(node.parent.children, _MOST_SIBLINGS))
    opened: list[tuple[str, int]] = []
    for index, sibling in enumerate(siblings):
        kind = sibling.type
        if kind in PAIRS or kind == "${":
            opened.append((PAIRS[kind[-1]], index))
        elif kind in CLOSERS and opened and not sibling.is_missing and opened[-1][0] == kind:
            _, opener = opened.pop()
            if sibling == node or siblings[opener] == node:
                return not any(_is_broken(one) for one in siblings[opener + 1 : index])
    return False


def _is_broken(node: Node) -> bool:
    return node.is_error or node.has_error
