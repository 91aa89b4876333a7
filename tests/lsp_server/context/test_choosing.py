from __future__ import annotations

import pytest

from lsp_server.context.choosing import Place, choose
from lsp_server.context.file_index import AT_ONCE, FileIndex, FileIndexes
from lsp_server.context.snippets import Snippet
from lsp_server.context.surroundings import Surroundings
from lsp_server.history import RecentEdit
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import find_gap

CURSOR = "‸"


def document(name: str, text: str, language_id: str = "python") -> DocumentSnapshot:
    return DocumentSnapshot(f"file:///project/{name}", 1, language_id, text)


def chosen(
    text: str,
    *others: DocumentSnapshot,
    start: int = 0,
    nearby: tuple[DocumentSnapshot, ...] = (),
    edits: tuple[RecentEdit, ...] = (),
    diagnostics: tuple[str, ...] = (),
    indexes: FileIndexes | None = None,
) -> list[Snippet]:
    """What is chosen at the mark, when the model reads all from ``start`` on."""
    at, text = text.index(CURSOR), text.replace(CURSOR, "")
    here = document("here.py", text)
    gap = find_gap(here, at, None, invoked=True)
    assert gap
    place = Place(here, gap, start, len(text))
    return choose(place, Surroundings(others, nearby, edits, diagnostics), indexes or FileIndexes())


HERE = "def area_of(width, height):\n    return ‸"
LIKE = document("like.py", "def volume_of(width, height, depth):\n    return width * height * depth\n")
UNLIKE = document("unlike.py", "import socket\nsocket.create_connection(address)\n")
MONEY = document(
    "money.py",
    '''import decimal

RATE = 3


class Price:
    """An amount in cents."""

    def __init__(self, cents):
        self.cents = cents

    def rounded(
        self, digits
    ):
        return self.cents

def unused():
    pass
''',
)


def test_what_is_like_the_lines_before_the_cursor_is_chosen() -> None:
    assert [one.heading for one in chosen(HERE, UNLIKE, LIKE)] == ["From like.py:"]


def test_what_the_names_at_the_gap_mean_is_chosen_from_open_and_from_nearby_files() -> None:
    for where in ({"nearby": (MONEY,)}, {}):
        found = chosen("total = 0\nprice = Price(‸", *([] if where else [MONEY]), **where)
        assert found[0].heading == "From money.py:"
        assert found[0].text.startswith("class Price:\n")


def test_the_name_nearest_to_the_gap_comes_first() -> None:
    found = chosen("Price\nother = 1\nvalue = RATE * ‸", nearby=(MONEY,))
    assert [one.text for one in found[:2]] == ["RATE = 3", found[1].text]
    assert found[1].text.startswith("class Price")


def test_imports_above_what_the_model_reads_are_told_if_they_matter() -> None:
    text = "import socket\nfrom shop.money import Price\n" + "x = 1\n" * 50 + "price = Price(‸"
    (found,) = chosen(text, start=100)
    assert found == Snippet("From the top of this file:", "from shop.money import Price")
    assert chosen(text, start=0) == []


def edit(uri: str, start: int, after: str, inserted: str = "x") -> RecentEdit:
    return RecentEdit(uri, 0, "", after, start, "", inserted, 0.0)


def test_what_was_changed_elsewhere_is_told() -> None:
    edits = (
        edit("file:///project/here.py", 40, "inside = 1"),
        edit("file:///project/here.py", 3, "above = 1"),
        edit("file:///project/other.py", 40, "def renamed(one):\n    return one"),
        edit("file:///project/other.py", 50, "deleted", inserted=""),
    )
    found = chosen("y = 1\n" * 10 + "z = ‸", start=30, edits=edits)
    assert [(one.heading, one.text) for one in found] == [
        ("Just changed in here.py:", "above = 1"),
        ("Just changed in other.py:", "def renamed(one):\n    return one"),
    ]


def test_what_is_to_be_mended_stands_nearest() -> None:
    found = chosen("price = Price(‸", MONEY, diagnostics=("missing argument\n 'cents'", "b", "c", "d"))
    assert [one.text for one in found[:3]] == ["missing argument 'cents'", "b", "c"]
    assert found[3].heading == "From money.py:"


def test_nothing_is_said_twice_nor_what_the_model_reads_anyway() -> None:
    assert len(chosen(HERE, LIKE, document("copy.py", LIKE.text))) == 1
    assert chosen(LIKE.text + HERE, LIKE) == []
    assert len(chosen(LIKE.text + HERE, LIKE, start=len(LIKE.text))) == 1, "it is in the document, but not read"
    assert chosen(HERE, document("here.py", LIKE.text)) == [], "the document itself, as it was"


def test_what_several_rankings_say_comes_first() -> None:
    both = document("both.py", "def width_of(width, height):\n    return width\n")
    found = chosen("area(width, height, depth, width_of(‸", LIKE, both)
    assert found[0].heading == "From both.py:"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("async def fetch(url):", "fetch"),
        ("    def method(self):", "method"),
        ("export default class Cart {", "Cart"),
        ("export async function load() {", "load"),
        ("export const limit = 3;", "limit"),
        ("export interface Shape {", "Shape"),
        ("type Shape = Square | Circle;", "Shape"),
        ("pub(crate) fn parse(text: &str) -> Tree {", "parse"),
        ("pub struct Tree {", "Tree"),
        ("func (t *Tree) Walk(f Visitor) error {", "Walk"),
        ("public final class Main {", "Main"),
        ("#define LIMIT 3", "LIMIT"),
        ("MAX_SIZE: int = 3", "MAX_SIZE"),
    ],
)
def test_declarations_are_found_in_many_languages(line: str, name: str) -> None:
    found = FileIndex.of(f"first\n{line}\n        inside\n\n}}\nafter\n").declarations
    assert name in found
    assert found[name].startswith(line.strip())
    assert "after" not in found[name]


@pytest.mark.parametrize("line", ["return defined", "# def commented", "x = classes", "undefined()", "Total = 1"])
def test_what_only_looks_like_one_is_none(line: str) -> None:
    assert FileIndex.of(f"{line}\n").declarations == {}


def test_a_declaration_ends_where_its_block_does() -> None:
    declared = FileIndex.of(MONEY.text).declarations
    assert declared["rounded"] == "def rounded(\n    self, digits\n):\n    return self.cents"
    assert declared["Price"].endswith("def rounded(\n        self, digits")
    assert declared["RATE"] == "RATE = 3"


def test_a_choice_reads_little_at_once_and_the_rest_the_next_time() -> None:
    indexes = FileIndexes()
    large = [document(f"large{number}.py", "#\n" * (AT_ONCE // 4)) for number in range(6)]
    counts = [len(list(indexes.of(large))) for _ in range(4)]
    assert counts == [2, 4, 6, 6]
    indexes.warm([MONEY])
    assert len(list(indexes.of([*large, MONEY]))) == 7
    changed = [document(one.uri[-9:], one.text + "x") for one in large]
    assert len(list(indexes.of([*changed, MONEY]))) == 7, "what an earlier text said serves until then"


@pytest.mark.parametrize(
    "text", ["", "\n\n", "\r\n", "\ud800", "x" * 100_000, "class\n" * 1000, "(" * 50_000, " \t" * 50_000]
)
def test_any_text_may_be_open(text: str) -> None:
    chosen(text[:50_000] + "x = ‸", document("a.py", text), LIKE)
