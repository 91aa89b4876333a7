"""Gaps as data: every case in ``tests/data/gaps`` is a text with a cursor, and the gap found there."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap, find_gap
from lsp_server.syntax.trees import SyntaxTrees

CURSOR = "‸"
VISIBLE = {"␍": "\r", "␉": "\t", "␌": "\f", "␀": "\0"}
CASES = Path(__file__).parents[2] / "data" / "gaps"


@dataclass(frozen=True)
class Case:
    language_id: str
    name: str
    text: str
    expected: str


def cases() -> list[Case]:
    return [case for path in sorted(CASES.glob("*.txt")) for case in read_cases(path)]


def read_cases(path: Path) -> list[Case]:
    found = []
    for part in re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, body = part.split("\n", 1)
        text, expected = body.split("\n--> ")
        for mark, char in VISIBLE.items():
            text = text.replace(mark, char)
        found.append(Case(path.stem, name, text, expected.strip()))
    return found


def describe(gap: Gap | None) -> str:
    if gap is None:
        return "nothing"
    end = f"{gap.end_rule.value} {gap.closer}" if gap.closer else gap.end_rule.value
    unclosed = f", unclosed {gap.unclosed}" if gap.unclosed else ""
    span = "lines" if gap.may_span_lines else "line"
    return f"{gap.kind.value}, {span}, ends at {end}, indent {gap.indent!r}{unclosed}"


def check(case: Case) -> None:
    offset = case.text.index(CURSOR)
    snapshot = DocumentSnapshot("file:///a", 1, case.language_id, case.text.replace(CURSOR, ""))
    gap = find_gap(snapshot, offset, SyntaxTrees().around(snapshot, offset), invoked="(invoked)" in case.name)
    assert describe(gap) == case.expected
    assert gap is None or gap.start == gap.end == offset


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.language_id}: {case.name}")
def test_gap(case: Case) -> None:
    check(case)


def test_there_are_enough_cases() -> None:
    assert len(cases()) >= 60
    assert len({(case.language_id, case.name) for case in cases()}) == len(cases())
