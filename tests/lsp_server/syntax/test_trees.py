import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import find_gap
from lsp_server.syntax.languages import JAVASCRIPT, MARKDOWN, PYTHON, Language
from lsp_server.syntax.trees import SyntaxTree, SyntaxTrees, parse

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


def test_thousands_of_parses_leave_nothing_behind() -> None:
    large = b"# " + b"x" * 150_000 + b"\n"  # read in several pieces

    def parses(count: int) -> None:
        for number in range(count):
            tree = parse(PYTHON, b"x = %d  # " % number + b"." * 10_000, limit_s=10)
            assert tree
            if number % 20 == 0:
                assert parse(PYTHON, b"x = %d\n" % number + large, tree, limit_s=10)
                assert parse(PYTHON, b"x = %d\n" % number * 10_000, limit_s=0) is None  # cancelled half way

    parses(40)
    tracemalloc.start(1)
    before = tracemalloc.get_traced_memory()[0]
    parses(2000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 500_000  # of 50 MB that were read


def test_a_node_has_its_text_after_other_parses() -> None:
    source = utf8("é = 1\n" + f"long = '{'x' * 5000}'\nlast = 2\n")
    tree = parse(PYTHON, source)
    assert tree
    assert parse(PYTHON, b"another = 3\n" * 1000)
    assert [node.text for node in tree.root.children] == source.splitlines()


def test_threads_parse_side_by_side() -> None:
    def parses(number: int) -> bool:
        source = b"name%d = f(%d)\n" % (number, number) * 400
        trees = [parse(PYTHON, source, limit_s=10) for _ in range(5)]
        return all(tree and not tree.root.has_error and tree.root.end_byte == len(source) for tree in trees)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(parses, range(4)))


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
    trees, text = SyntaxTrees(limit_s=10), LARGE
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


def test_who_types_on_has_the_neighbourhood_parsed_from_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    previous: list[SyntaxTree | None] = []

    def watched(language: Language, source: bytes, before: SyntaxTree | None = None, *limit: float) -> object:
        previous.append(before)
        return parse(language, source, before, *limit)

    monkeypatch.setattr("lsp_server.syntax.trees.parse", watched)
    trees, at = SyntaxTrees(limit_s=10), LARGE.index("return", len(LARGE) // 2)
    trees.around(DocumentSnapshot("file:///a.py", 0, "python", LARGE), at)
    previous.clear()
    typed = "total = h(é)\n    "
    for version in range(1, len(typed) + 1):
        text = LARGE[:at] + typed[:version] + LARGE[at:]
        near = trees.around(DocumentSnapshot("file:///a.py", version, "python", text), at + version)
    assert near
    assert near.start
    assert len(previous) == len(typed)
    assert all(previous)
    fresh = parse(PYTHON, near.source)
    assert fresh
    assert str(near.root) == str(fresh.root)
    elsewhere = LARGE.index("return") + 7
    near = trees.around(
        DocumentSnapshot("file:///a.py", 99, "python", LARGE[:elsewhere] + LARGE[elsewhere:]), elsewhere
    )
    assert near
    assert near.source == utf8(LARGE)[near.start :][: len(near.source)]
    assert previous[-1] is None


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
