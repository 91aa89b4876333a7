import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import find_gap
from lsp_server.syntax.languages import JAVASCRIPT, MARKDOWN, PYTHON, TSX, TYPESCRIPT, Language, language_of
from lsp_server.syntax.trees import SyntaxTrees, parse

SOURCES = st.text(st.sampled_from("abé🎉 \n:()[]{}\"'#=,"), max_size=60)


@given(SOURCES, SOURCES, st.sampled_from([PYTHON, JAVASCRIPT, MARKDOWN]))
@settings(max_examples=60, deadline=None)
def test_an_edited_tree_covers_the_new_text(old: str, new: str, language: Language) -> None:
    before = parse(language, utf8(old))
    assert before
    after = parse(language, utf8(new), before)
    assert after
    assert after.source == utf8(new)
    assert after.root.end_byte <= len(after.source)


def test_a_key_in_a_large_file_reparses_only_what_changed() -> None:
    source = "".join(f"def f{n}(x):\n    return x + {n}\n\n" for n in range(3000))
    before = parse(PYTHON, utf8(source), limit_s=10)
    at = len(source) // 2
    edited = source[:at] + "1" + source[at:]
    after = parse(PYTHON, utf8(edited), before, limit_s=10)
    fresh = parse(PYTHON, utf8(edited), limit_s=10)
    assert after
    assert fresh
    assert str(after.root) == str(fresh.root)


def test_hostile_text_costs_a_bounded_wait() -> None:
    hostile = utf8("[" * 2_000_000)
    began = time.monotonic()
    assert parse(PYTHON, hostile, limit_s=0.05) is None
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("language_id", "text"),
    [
        ("python", "(" * 200_000),
        ("python", "x = " + "[" * 50_000),
        ("python", "def f():\n" * 20_000),
        ("python", '"""' * 50_001),
        ("javascript", "{" * 200_000),
        ("markdown", "> " * 50_000),
        ("markdown", "- " * 50_000),
        ("markdown", "[" * 200_000),
        ("markdown", "*a " * 100_000),
    ],
)
def test_a_hostile_document_still_gets_an_answer_soon(language_id: str, text: str) -> None:
    trees = SyntaxTrees()
    for version in range(5):
        snapshot = DocumentSnapshot("file:///a", version, language_id, text + "\n" * version)
        began = time.monotonic()
        find_gap(snapshot, len(text), trees.around(snapshot, len(text)), invoked=True)
        assert time.monotonic() - began < 5


def test_a_document_that_took_too_long_is_not_tried_at_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    trees = SyntaxTrees(limit_s=0)
    assert trees.around(DocumentSnapshot("file:///a.py", 1, "python", LARGE), 0) is None
    monkeypatch.setattr("lsp_server.syntax.trees.parse", lambda *_: pytest.fail("tried again"))
    assert trees.around(DocumentSnapshot("file:///a.py", 2, "python", LARGE + "x"), 0) is None


def test_errors_are_counted() -> None:
    good, bad = parse(PYTHON, b"x = 1\n"), parse(PYTHON, b"x = (\ny = ]\n")
    assert good
    assert bad
    assert good.errors() == 0
    assert bad.errors() > 0


def test_trees_are_kept_per_document_and_forgotten() -> None:
    trees = SyntaxTrees(capacity=2)
    snapshots = [DocumentSnapshot(f"file:///{n}.py", 1, "python", LARGE) for n in range(3)]
    for snapshot in snapshots:
        assert trees.around(snapshot, 0)
    trees.forget(snapshots[0].uri)
    assert trees.around(snapshots[0], 0)
    assert trees.around(DocumentSnapshot("file:///a.zig", 1, "zig", "x"), 0) is None


LARGE = "".join(f"def f{n}(x):\n    # é\n    return g(x, [{n}, {{}}])\n\n\n" for n in range(600))


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["x", " = ", "(", "\n    ", '"', "é", ")\n"])), max_size=6))
@settings(max_examples=25, deadline=None)
def test_the_neighbourhood_tells_what_the_whole_tells(edits: list[tuple[float, str]]) -> None:
    trees, text = SyntaxTrees(), LARGE
    trees.around(DocumentSnapshot("file:///a.py", 0, "python", text), 0)
    for version, (where, new) in enumerate(edits):
        at = text.index("return", int(where * (len(text) - 100))) + len("return ")
        text = text[:at] + new + text[at:]
        snapshot = DocumentSnapshot("file:///a.py", version, "python", text)
        near = trees.around(snapshot, at + len(new))
        assert near
        begin = near.start
        assert utf8(text)[begin : begin + len(near.source)] == near.source
        assert begin <= snapshot.lines.byte_offset(at + len(new)) <= begin + len(near.source)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.99])
def test_in_a_large_document_only_the_neighbourhood_is_parsed(place: float) -> None:
    trees = SyntaxTrees()
    at = LARGE.index("[", int(place * (len(LARGE) - 100))) + 1
    before = DocumentSnapshot("file:///a.py", 1, "python", LARGE)
    trees.around(before, at)
    after = DocumentSnapshot("file:///a.py", 2, "python", LARGE[:at] + "y, " + LARGE[at:])
    near = trees.around(after, at + 3)
    assert near
    assert len(near.source) < 1000
    gap = find_gap(after, at + 3, near, invoked=True)
    whole = parse(PYTHON, utf8(after.text))
    assert gap
    assert gap == find_gap(after, at + 3, whole, invoked=True)
    assert gap.closer == "]"


def test_in_a_large_markdown_document_too() -> None:
    section = "## Part {}\n\nWords, é.\n\n- item\n\n```python\nf(x, )\n```\n\n"
    text = "".join(section.format(n) for n in range(500))
    trees = SyntaxTrees()
    at = text.index("(x, ", len(text) // 2) + 4
    trees.around(DocumentSnapshot("file:///a.md", 1, "markdown", text), at)
    after = DocumentSnapshot("file:///a.md", 2, "markdown", text[:at] + "y" + text[at:])
    near = trees.around(after, at + 1)
    assert near
    assert len(near.source) < 1000
    gap = find_gap(after, at + 1, near)
    assert gap
    assert (gap.kind.value, gap.start, gap.closer) == ("bracket", at + 1, ")")


def test_languages_are_known_by_id_else_by_name() -> None:
    assert language_of("python") is PYTHON
    assert language_of("typescriptreact") is TSX
    assert language_of("", "file:///a/b.ts") is TYPESCRIPT
    assert language_of("plaintext", "file:///a/README.md") is MARKDOWN
    assert language_of("rust", "file:///a/b.py") is None
    assert language_of("", "") is None
