"""Holes as data: each case in ``tests/data/holes`` is a text with its holes marked, and what each of them is."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.holes import MAX_HOLES, Hole, find_holes, hole_at, holes_of
from lsp_server.syntax.languages import language_of
from lsp_server.syntax.trees import SyntaxTree, parse

CASES = Path(__file__).parents[2] / "data" / "holes"


@dataclass(frozen=True)
class Case:
    language_id: str
    name: str
    marked: str
    expected: tuple[str, ...]


def cases() -> list[Case]:
    return [case for path in sorted(CASES.glob("*.txt")) for case in read_cases(path)]


def read_cases(path: Path) -> list[Case]:
    found = []
    for part in re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, body = part.split("\n", 1)
        marked, *expected = re.split(r"^--> ", body, flags=re.MULTILINE)
        found.append(Case(path.stem, name, marked, tuple(line.rstrip("\n") for line in expected)))
    return found


def document(text: str, language_id: str = "python", uri: str = "file:///a") -> tuple[DocumentSnapshot, SyntaxTree]:
    language = language_of(language_id)
    if language is None:
        pytest.skip(f"no grammar for {language_id} yet")
    tree = parse(language, utf8(text), limit_s=10)
    assert tree
    return DocumentSnapshot(uri, 1, language_id, text), tree


def marked(text: str, holes: tuple[Hole, ...]) -> str:
    for hole in reversed(holes):
        text = f"{text[: hole.start]}⟦{text[hole.start : hole.end]}⟧{text[hole.end :]}"
    return text


def describe(hole: Hole) -> str:
    return f"{hole.gap.kind.value} {hole.gap.indent!r} {hole.label}"


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.language_id}: {case.name}")
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_holes(case: Case, line_end: str) -> None:
    if case.language_id == "shellscript":
        line_end = "\n"  # to a shell, CR is a part of the word
    text = re.sub("[⟦⟧]", "", case.marked).replace("\n", line_end)
    snapshot, tree = document(text, case.language_id)
    holes = find_holes(snapshot, tree)
    assert marked(text, holes).replace("\r\n", "\n") == case.marked
    assert tuple(map(describe, holes)) == case.expected
    for hole in holes:
        assert hole_at(snapshot, tree, hole.start, hole.end) == hole
        opened = hole.opened(snapshot)
        line = opened.lines.content(opened.lines.line_of(hole.gap.start))
        assert hole.gap.kind.value == "inline" or line == hole.gap.indent, "a line of its own, indented"
        assert opened.text.replace("\r\n", "").count("\n") == 0 or line_end == "\n"


def test_there_are_enough_cases() -> None:
    assert len(cases()) >= 40
    assert sum(len(case.expected) for case in cases()) >= 50
    assert sum(not case.expected for case in cases()) >= 12, "of what is meant as it is, too"


def test_a_stub_file_has_no_holes() -> None:
    text = "def f() -> int:\n    ...\n"
    assert find_holes(*document(text)) != ()
    assert find_holes(*document(text, uri="file:///a.pyi")) == ()


def test_the_hole_of_a_line() -> None:
    text = "def f():\n    ...\n\n\n\ndef g():\n    pass\n"
    snapshot, tree = document(text)
    first, second = find_holes(snapshot, tree)
    assert hole_at(snapshot, tree, text.index("...") + 1) == first
    assert hole_at(snapshot, tree, text.index("pass")) == second
    assert hole_at(snapshot, tree, 0) is None
    assert hole_at(snapshot, tree, 0, len(text)) == first, "the nearest to where the selection begins"


def test_offsets_behind_characters_of_several_bytes() -> None:
    text = 's = "🎉é"\n\ndef f():\n    """🎉"""\n    pass\n'
    (hole,) = find_holes(*document(text))
    assert text[hole.start : hole.end] == "pass"
    assert hole.moved(3).start - hole.start == hole.moved(3).gap.start - hole.gap.start == 3


@pytest.mark.parametrize(
    "text", ["def f():\n" + "    ...\n" * 20_000, "{" * 50_000, "# TODO\n" * 20_000, "def f(): ...\n" * 9_000]
)
def test_hostile_text_costs_little(text: str) -> None:
    began = time.process_time()
    assert len(holes_of(DocumentSnapshot("file:///a", 1, "python", text))) <= MAX_HOLES
    assert time.process_time() - began < 10, "seconds of this process; it takes well under one"
