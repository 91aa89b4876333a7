"""Marked documents, raw fills, and what may be shown of them: ``tests/data/filters``, one file for each family.

A case's head says language, filter and title; ``→`` is a tab, ``·`` a space at a line's end, ``␛`` an escape; ``crlf``
behind the language gives document and fill CRLF line ends, ``length`` says that the length limit ended the fill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference.protocol import FinishReason
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.filters import FILTERS, check
from lsp_server.suggestions.site import Site
from lsp_server.syntax.gaps import find_gap
from lsp_server.syntax.trees import SyntaxTrees

FOLDER = Path(__file__).parents[2] / "data" / "filters"
CURSOR = "‸"
_CASE = re.compile(
    r"### (?P<head>[^·\n]+?) · (?P<filter>[^·\n]+?) · (?P<title>[^\n]+)\n(?P<document>.*?)\n--- fill\n(?P<fill>.*?)\n"
    r"--- (?P<outcome>shown as it is|shown|silence: [^\n]+)(?:\n(?P<shown>.*))?",
    re.DOTALL,
)
_SIGNS = str.maketrans({"→": "\t", "·": " ", "␛": "\x1b"})


@dataclass(frozen=True)
class Case:
    """``shown`` is None where nothing may be shown, and ``reason`` says why; ``*`` is any reason."""

    head: tuple[str, ...]
    filter: str
    title: str
    document: str
    fill: str
    shown: str | None
    reason: str = ""

    @property
    def site(self) -> Site:
        """The gap at the cursor, asked for by the user."""
        text = self.document.replace("\n", "\r\n") if "crlf" in self.head else self.document
        snapshot = DocumentSnapshot("file:///a", 1, self.head[0], text.replace(CURSOR, ""))
        tree = SyntaxTrees().around(snapshot, text.index(CURSOR))
        gap = find_gap(snapshot, text.index(CURSOR), tree, invoked=True)
        assert gap
        return Site(snapshot, gap, tree)


def cases() -> list[Case]:
    """All cases of all files."""
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for block in re.split(r"\n\n(?=### )", path.read_text(encoding="utf-8").rstrip("\n")):
            match = _CASE.fullmatch(block)
            assert match, f"{path.name}: {block}"
            fill = match["fill"].translate(_SIGNS)
            shown = {"shown as it is": fill, "shown": (match["shown"] or "").translate(_SIGNS)}.get(match["outcome"])
            reason = match["outcome"].partition(": ")[2]
            head = tuple(match["head"].split())
            document = match["document"].translate(_SIGNS)
            found.append(Case(head, match["filter"], match["title"], document, fill, shown, reason))
    return found


CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.head[0]}-{case.filter}-{case.title}")
def test_what_may_be_shown(case: Case) -> None:
    finish = FinishReason.LENGTH if "length" in case.head else FinishReason.GAP_END
    site = case.site
    text, reason = check(case.fill.replace("\n", "\r\n") if "crlf" in case.head else case.fill, site, finish)
    assert text == (case.shown or "")
    if case.shown is None:
        assert case.reason in ("*", reason)
    elif case.shown != case.fill and case.filter in FILTERS:
        changed, passed = [], case.fill
        for name, apply in FILTERS.items():
            before, passed = passed, apply(passed, site.inmost)
            changed += [name] if before != passed else []
        assert case.filter in changed


def test_every_filter_has_a_case_that_it_changes_and_one_that_it_leaves() -> None:
    for name in FILTERS:
        own = [case for case in CASES if case.filter == name]
        assert any(case.shown != case.fill for case in own), name
        others = [case for case in CASES if case.shown == case.fill]
        assert others, name


def test_there_are_languages_and_line_ends_of_all_sorts() -> None:
    assert len({case.head[0] for case in CASES}) >= 12
    assert any("crlf" in case.head for case in CASES)
    assert any("\t" in case.document for case in CASES)
