"""Holes filled together and one after another, in the process, with the scripted worker."""

import time
from collections.abc import Iterator
from itertools import count

import pytest

from inference.protocol import Fixed, Masked
from lsp_server.context.surroundings import Surroundings
from lsp_server.options import Options
from lsp_server.rewriting import filling
from lsp_server.rewriting.changes import applied
from lsp_server.rewriting.filling import CANVAS_TOKENS, MOST_TOGETHER, Filled, fill_holes, groups
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.holes import holes_of
from tests.support.scripted_client import Script, ScriptedClient

NEAR = "def a():\n    ...\n\n\ndef b():\n    # TODO: write it\n\n\ndef c():\n    pass\n"
FAR = NEAR.replace("def b", "# " + "long " * 300 + "\ndef b")


def document(text: str, language_id: str = "python") -> DocumentSnapshot:
    return DocumentSnapshot("file:///a", 1, language_id, text)


async def fill(
    text: str, client: ScriptedClient, language_id: str = "python", until: float = 1e12
) -> tuple[str, Filled]:
    snapshot = document(text, language_id)
    filled = await fill_holes(snapshot, holes_of(snapshot), client=client, options=Options(), until=until)
    return applied(text, filled.changes), filled


def client(*in_turn: str) -> ScriptedClient:
    return ScriptedClient(Script(in_turn=in_turn))


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize(("text", "requests"), [(NEAR, 2), (FAR, 2)])
async def test_every_fill_goes_where_it_belongs(text: str, requests: int, eol: str) -> None:
    asked = client("return 1", "x = 2\n    return x", "return 3")
    text = text.replace("\n", eol)
    result, filled = await fill(text, asked)
    expected = text.replace("...", "return 1").replace("pass", "return 3")
    assert result == expected.replace("# TODO: write it", f"# TODO: write it{eol}    x = 2{eol}    return x")
    assert filled.left == ()
    assert len(asked.requests) == requests
    seen = "".join(one.text for one in asked.requests[-1].segments if isinstance(one, Fixed))
    assert "return 1" in seen, "a later request sees the fills before it"
    assert "..." not in seen


async def test_holes_are_filled_with_what_stands_elsewhere_in_view() -> None:
    snapshot, asked = (
        document("def f(stack):\n    return first_of(stack)\n\n\ndef g():\n    ...\n"),
        client("return 1", "return 1"),
    )
    other = DocumentSnapshot("file:///b.py", 1, "python", "def first_of(stack):\n    return stack[0]\n")
    surroundings = Surroundings(others=(other,), before="import above\n\n")
    for budget in (0, 500):
        options = Options(context_snippets=budget)
        await fill_holes(
            snapshot, holes_of(snapshot), client=asked, options=options, until=1e12, surroundings=surroundings
        )
    plain, (snippets, *rest) = (one.segments for one in asked.requests)
    assert isinstance(plain[0], Fixed)
    assert plain[0].text.startswith("import above\n\ndef f(stack)")
    assert isinstance(snippets, Fixed)
    assert "# From b.py:" in snippets.text
    assert "# def first_of(stack)" in snippets.text
    assert tuple(rest) == plain


async def test_what_shares_a_canvas_fits_it() -> None:
    holes = holes_of(document("".join(f"def f{n}():\n    pass\n\n\n" for n in range(9))))
    shared = list(groups(holes))
    assert [hole for group in shared for hole in group] == list(holes)
    assert {len(group) for group in shared} == {1, 2}
    asked = client(*["return 1"] * 9)
    await fill("".join(f"def f{n}():\n    pass\n\n\n" for n in range(9)), asked)
    for request in asked.requests:
        gaps = [one.max_tokens for one in request.segments if isinstance(one, Masked)]
        assert len(gaps) == 1 or (sum(gaps) < CANVAS_TOKENS and max(gaps) <= MOST_TOGETHER)


async def test_a_group_that_brings_nothing_is_asked_for_one_by_one() -> None:
    asked = client(")))", "]]]", "return 1", "return 2", "return 3")
    result, filled = await fill(NEAR.replace("# TODO: write it", "pass"), asked)
    assert result.count("return") == 3
    assert filled.left == ()
    assert [sum(isinstance(one, Masked) for one in request.segments) for request in asked.requests] == [2, 1, 1, 1]


async def test_every_fill_is_filtered_with_those_above_it_in_place() -> None:
    result, filled = await fill(NEAR, client("return 1", ")))", "return 3"))
    assert [(label, bool(reason)) for label, reason in filled.left] == [("after “TODO: write it”", True)]
    assert result == NEAR.replace("...", "return 1").replace("pass", "return 3")


async def test_only_the_user_s_own_floor_holds_for_what_was_asked_for() -> None:
    snapshot, unsure = document(NEAR), ScriptedClient(Script(fills=("return 1",), confidence=0.1, confidence_floor=0.9))
    for floor, left in ((None, 0), (0.5, 3)):
        options = Options(confidence_floor=floor)
        filled = await fill_holes(snapshot, holes_of(snapshot), client=unsure, options=options, until=1e12)
        assert len(filled.left) == left
        assert all("below" in reason for _, reason in filled.left)


async def test_no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: Iterator[int] = count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    assert filling.time is time
    asked = client("return 1", "return 2", "return 3")
    result, filled = await fill(FAR, asked, until=1.5)
    assert result.count("return") in (1, 2)
    assert {reason for _, reason in filled.left} == {"there was no time left"}


async def test_a_body_in_braces_is_opened() -> None:
    text = 'class A {\n  size(): number { throw new Error("not implemented"); }\n}\n'
    result, _ = await fill(text, client("return this.xs.length;"), "typescript")
    assert result == "class A {\n  size(): number {\n    return this.xs.length;\n  }\n}\n"


@pytest.mark.parametrize(
    ("language", "text", "talk"),
    [
        ("python", "def f():\n    ...\n", "# does it"),
        ("python", "def f():\n    ...\n", '"""Does it.\n\n    Well."""'),
        ("go", 'func f() {\n\tpanic("not implemented")\n}\n', "// f does it\n\t// well"),
        ("rust", "fn f() {\n    todo!()\n}\n", "/* later */"),
    ],
)
async def test_a_body_is_more_than_talk(language: str, text: str, talk: str) -> None:
    result, filled = await fill(text, client(talk), language)
    assert result == text
    assert [reason for _, reason in filled.left] == ["nothing but a comment"]


async def test_a_body_may_begin_with_talk() -> None:
    result, _ = await fill("def f():\n    ...\n", client('"""Does it."""\n    return 1'))
    assert result == 'def f():\n    """Does it."""\n    return 1\n'
