"""Gaps as data: every case in ``tests/data/gaps`` is a text with a cursor, and the gap found there."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import LIMITS, EndRule, Gap, GapKind, find_gap
from lsp_server.syntax.languages import LANGUAGES, language_of
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


COMMON = {"python", "javascript", "typescript", "typescriptreact", "go", "rust", "java", "c", "cpp", "csharp"}


def test_there_are_enough_cases() -> None:
    counts = Counter(language_of(case.language_id) for case in cases())
    for language in LANGUAGES:
        assert counts[language] >= 6, language.name
    for language_id in COMMON:
        assert counts[language_of(language_id)] >= 12, language_id
    assert counts.total() >= 400
    assert len({(case.language_id, case.name) for case in cases()}) == counts.total()


def test_every_kind_and_every_end_has_a_case() -> None:
    expected = {case.expected.split(", ")[0] for case in cases()}
    assert expected == {kind.value for kind in GapKind if kind is not GapKind.SELECTION} | {"nothing"}
    for rule in EndRule:
        assert any(f"ends at {rule.value}" in case.expected for case in cases()), rule


@pytest.mark.parametrize("kind", list(GapKind))
def test_every_kind_has_its_limits(kind: GapKind) -> None:
    limits = LIMITS[kind]
    assert 0 < limits.one_line <= 63
    assert limits.lines == 0 or limits.one_line <= limits.lines <= 255
