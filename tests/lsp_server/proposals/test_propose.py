"""Proposals as data: ``tests/data/proposals`` holds documents with a cursor, other files, and what comes first."""

import re
from ast import literal_eval
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.protocol import MAX_PROPOSALS, Proposal
from lsp_server.context.surroundings import Surroundings
from lsp_server.proposals.evidence import coefficients
from lsp_server.proposals.propose import propose
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import EndRule, Gap, GapKind, find_gap
from lsp_server.syntax.trees import SyntaxTrees

CURSOR = "‸"
FOLDER = Path(__file__).parents[2] / "data" / "proposals"


@dataclass(frozen=True)
class Case:
    language_id: str
    name: str
    text: str
    others: tuple[DocumentSnapshot, ...]
    expected: tuple[str, ...]


def cases() -> list[Case]:
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for part in re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name, body = part.split("\n", 1)
            given_text, *expected = body.rstrip().split("\n--> ")
            text, *others = re.split(r"\n=== ", given_text)
            files = [other.split("\n", 1) for other in others]
            snapshots = tuple(DocumentSnapshot(f"file:///{name}", 0, path.stem, body) for name, body in files)
            wanted = tuple(literal_eval(one) for one in expected if one != "nothing")
            found.append(Case(path.stem, name, text, snapshots, wanted))
    return found


def proposals(case: Case, text: str) -> tuple[Proposal, ...]:
    snapshot = DocumentSnapshot("file:///a", 0, case.language_id, text.replace(CURSOR, ""))
    offset = text.index(CURSOR)
    gap = find_gap(snapshot, offset, SyntaxTrees().around(snapshot, offset), invoked=True)
    assert gap
    return propose(snapshot, gap, Surroundings(nearby=case.others))


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.language_id}: {case.name}")
def test_what_is_proposed_first(case: Case) -> None:
    found = tuple(one.text for one in proposals(case, case.text))
    assert found[: len(case.expected)] == case.expected
    assert bool(found) == bool(case.expected)


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.language_id}: {case.name}")
def test_line_ends_make_no_difference(case: Case) -> None:
    crlf = tuple(one.text for one in proposals(case, case.text.replace("\n", "\r\n")))
    assert crlf[: len(case.expected)] == case.expected


def test_the_likeliest_come_first_and_not_too_many() -> None:
    text = "".join(f"value = compute({n})\n" for n in range(40)) + "value = comp"
    snapshot = DocumentSnapshot("file:///a", 0, "python", text)
    gap = find_gap(snapshot, len(text), None)
    assert gap
    found = propose(snapshot, gap, Surroundings())
    assert len(found) == MAX_PROPOSALS
    assert [one.evidence for one in found] == sorted((one.evidence for one in found), reverse=True)


def test_one_file_counts_once() -> None:
    text = "response = client.g"
    snapshot = DocumentSnapshot("file:///a", 0, "python", text)
    other = DocumentSnapshot("file:///b", 0, "python", 'response = client.get("/items")\n')
    gap = find_gap(snapshot, len(text), None)
    assert gap
    once = propose(snapshot, gap, Surroundings(others=(other,)))
    assert once
    assert once == propose(snapshot, gap, Surroundings(others=(other,), nearby=(other, snapshot)))


def test_the_weights_are_those_of_the_features() -> None:
    """A feature that was renamed would silently weigh nothing."""
    text = "def area(width):\n    return width\n\ndef volume(width):\n    return wi"
    snapshot = DocumentSnapshot("file:///a", 0, "python", text)
    gap = find_gap(snapshot, len(text), None)
    assert gap
    from lsp_server.proposals.candidates import candidates
    from lsp_server.proposals.features import Weigher
    from lsp_server.proposals.place import Place
    from lsp_server.proposals.propose import sources

    place = Place(snapshot, gap)
    found = candidates(place, sources(place, Surroundings()))
    names = {name for one in found.items for name in Weigher(place, found).features(one)}
    assert names
    assert names <= set(coefficients())


TEXTS = st.lists(
    st.sampled_from(
        ["    ", "\t", "\n", "\r\n", "\r", "a", "ab", "x = ", "(", ")", "'", "é", "\0", "\ud800", "1", ", ", "# "]
    ),
    max_size=60,
).map("".join)
KINDS = st.sampled_from(list(GapKind))


@given(TEXTS, TEXTS, st.integers(0, 200), KINDS, st.booleans(), st.sampled_from(["", ")", "]", "'", '"""']))
def test_whatever_the_text(text: str, other: str, place: int, kind: GapKind, lines: bool, closer: str) -> None:
    snapshot = DocumentSnapshot("file:///a", 0, "python", text)
    start = min(place, len(text))
    gap = Gap(
        kind=kind,
        start=start,
        end=start,
        end_rule=EndRule.CLOSER if closer else EndRule.LINE,
        may_span_lines=lines,
        max_tokens=31,
        indent="    ",
        closer=closer,
    )
    surroundings = Surroundings(nearby=(DocumentSnapshot("file:///b", 0, "python", other),))
    found = propose(snapshot, gap, surroundings)
    assert found == propose(snapshot, gap, surroundings)
    assert len(found) <= MAX_PROPOSALS
    assert len({one.text for one in found}) == len(found)
    for one in found:
        assert one.text.strip()
        assert lines or "\n" not in one.text
        assert not re.search("[\0\r\ud800]", one.text)
        assert len(one.text) < 4000
