"""Marked gaps asked for as an editor would, against a model that says what a script tells it to."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from lsp_server.bench.held_out import MarkedGap, ProjectFile, limited, read_project_files
from lsp_server.bench.problem import BadProblems
from lsp_server.bench.projects import on_disk, place_of
from lsp_server.bench.showing import Asker, Showing
from lsp_server.bench.showing_report import showing_markdown, showing_report
from lsp_server.options import Options
from tests.support.scripted_client import Script, ScriptedClient

SHOP = Path(__file__).parents[2] / "data/held_out/shop.jsonl"


def ask(script: Script, files: list[ProjectFile]) -> list[Showing]:
    client = ScriptedClient(script)
    asker = Asker(client, Options(confidence_floor=0.0), seed=0)
    return asyncio.run(asker.ask(files, lambda _: None))


def test_a_fill_is_held_against_what_stood_there() -> None:
    right, begins, wrong = ask(Script(fills=("len(items)",)), read_project_files(SHOP))
    assert (right.kind, right.expected, right.text) == ("line", "len(items)", "len(items)")
    assert right.passed
    assert right.begins_right
    assert right.parses
    assert right.similarity == 1.0
    assert right.shown
    assert not begins.passed
    assert wrong.expected == "name"
    assert not wrong.passed
    assert wrong.parses


def test_the_first_of_several_lines_may_be_right_by_itself() -> None:
    text = "def f(a):\n    b = a\n    return b\n"
    start = text.index("b = a")
    gap = MarkedGap("lines", start, text.index("\n", text.index("return")))
    file = ProjectFile("p", "f.py", "python", text, (gap,))
    for fill, begins, passed in (("b = a", True, False), ("b = a\n    return b", True, True), ("b = ab", False, False)):
        (found,) = ask(Script(fills=(fill,)), [file])
        assert (found.begins_right, found.passed) == (begins, passed), fill


def test_below_the_model_s_floor_nothing_is_shown_but_the_guess_is_judged() -> None:
    found = ask(Script(fills=("len(items)",), confidence=0.3, confidence_floor=0.5), read_project_files(SHOP))
    report = showing_report(found)
    assert [one.shown for one in found] == [False] * 3
    assert report["kinds"]["line python"]["shown"] == 0.0
    assert report["kinds"]["line python"]["exact"] == 0.5
    assert report["confidence_floor"] == 0.5


def test_report_and_markdown_say_the_same() -> None:
    found = ask(Script(fills=("len(items)",), confidence=0.8), read_project_files(SHOP))
    report = showing_report(found)
    assert report["single_lines"]["shown"] == 1.0
    assert report["single_lines"]["exact_of_shown"] == 0.5
    assert report["confidence_curve"] == [{"low": 0.8, "high": 0.9, "gaps": 2, "passed": 0.5}]
    text = showing_markdown(report)
    assert "| line python | 2 | 1.000 | 0.500 |" in text
    assert "0.8-0.9 " + "█" * 20 + "·" * 14 + "|" in text
    assert "| 0.80 | 1.000 | 0.500 |" in text


def test_silence_is_no_answer() -> None:
    found = ask(Script(fills=()), read_project_files(SHOP))
    assert not any(one.spoke or one.passed for one in found)
    assert "| line python | 2 | 0.000 | – |" in showing_markdown(showing_report(found))


def test_a_limit_is_of_each_kind() -> None:
    files = limited(read_project_files(SHOP), 1)
    assert [gap.kind for file in files for gap in file.gaps] == ["line", "lines"]
    assert len(files) == 2, "a file without gaps is still a neighbour"


def test_projects_stand_on_disk_as_they_were_and_are_gone_afterwards() -> None:
    files = read_project_files(SHOP)
    with on_disk(files) as root:
        assert place_of(root, files[0]).read_text() == files[0].text
    assert not root.exists()


def test_no_file_leaves_its_project() -> None:
    file = replace(read_project_files(SHOP)[0], path="../../etc/passwd")
    with pytest.raises(BadProblems, match="leads out of its project"), on_disk([file]):
        pass


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "holds no gaps"),
        ("{\n", "line 1: not JSON"),
        ("[]\n", "line 1: must be an object"),
        ('{"project": "p", "path": "a", "language_id": "go", "text": "x", "gaps": [{"kind": "line"}]}', "a gap is"),
        (
            '{"project": "p", "path": "a", "language_id": "go", "text": "x", '
            '"gaps": [{"kind": "line", "start": 0, "end": 2}]}',
            "within the text",
        ),
    ],
)
def test_a_file_it_cannot_use_is_named(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "held_out.jsonl"
    path.write_text(content)
    with pytest.raises(BadProblems, match=sentence):
        read_project_files(path)
