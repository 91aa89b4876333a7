"""What lies far is frozen: while somebody types, the prompt keeps its opening."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.protocol import Fixed
from lsp_server.canvas import segments
from lsp_server.context.window import Budget, Window
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import EndRule, Gap, GapKind

BLOCKS = "".join(f"def function_{n}(items):\n    total = {n}\n    return total + len(items)\n\n\n" for n in range(300))
MIDDLE = BLOCKS.index("\n\n", len(BLOCKS) // 2) + 2
BUDGET = Budget(prefix=1500, suffix=600)
FREE = BUDGET.prefix // 3
"""So many characters may be typed before the window must move; blocks make it a little more."""

_GAP = Gap(
    kind=GapKind.LINE_TAIL, start=0, end=0, end_rule=EndRule.LINE, may_span_lines=False, max_tokens=31, indent=""
)


@dataclass
class Typist:
    """Types into a long file as an editor does, with a window that follows."""

    text: str = BLOCKS
    cursor: int = MIDDLE
    window: Window | None = None
    prompt: str = ""
    moved: bool = False
    """Whether the last look needed another window."""

    def type(self, text: str, behind: str = "", delete: int = 0) -> None:
        """Delete left of the cursor, insert ``text`` there, and ``behind`` right of it."""
        self.text = self.text[: self.cursor - delete] + text + behind + self.text[self.cursor :]
        self.cursor += len(text) - delete

    def look(self) -> float:
        """Ask for a prompt; the share of it that was in the last one already."""
        snapshot = DocumentSnapshot("file:///a.py", 1, "python", self.text)
        gap = replace(_GAP, start=self.cursor, end=self.cursor)
        window = self.window.following(self.text, gap, BUDGET) if self.window else None
        self.moved = window is None or self.window is None or window.head != self.window.head
        self.window = window or Window.around(self.text, gap, BUDGET, "# from elsewhere\n")
        *before, _, suffix = segments(snapshot, gap, self.window)
        prompt = "".join(one.text for one in (suffix, *before) if isinstance(one, Fixed))
        pairs = zip(prompt, self.prompt, strict=False)
        shared = next((at for at, (one, other) in enumerate(pairs) if one != other), len(self.prompt))
        self.prompt = prompt
        return min(shared, len(prompt)) / len(prompt)


WORDS = st.text(alphabet="abc_ =.,:+", min_size=1, max_size=12)
ACTIONS = st.one_of(
    st.tuples(st.just("type"), WORDS),
    st.tuples(st.just("newline"), st.sampled_from(["\n", "\n    ", "\n        "])),
    st.tuples(st.just("pair"), st.sampled_from(["()", "[]", "{}", '""', "''"])),
    st.tuples(st.just("delete"), st.integers(1, 8)),
    st.tuples(st.just("type over"), st.none()),
    st.tuples(st.just("import above"), st.sampled_from(["import os\n", "import collections.abc\n"])),
)


@settings(max_examples=40, deadline=None)
@given(actions=st.lists(ACTIONS, min_size=10, max_size=80))
def test_every_key_keeps_the_prompt_but_at_rare_moves(actions: list[tuple[str, object]]) -> None:
    typist, closers = Typist(), ""
    typist.look()
    begun, since_move = typist.cursor, 0
    for kind, what in actions:
        before = typist.cursor
        if kind == "pair":
            assert isinstance(what, str)
            typist.type(what[0], behind=what[1])
            closers = what[1] + closers
        elif kind == "type over" and closers:
            typist.cursor, closers = typist.cursor + 1, closers[1:]
        elif kind == "delete":
            assert isinstance(what, int)
            typist.type("", delete=min(what, typist.cursor - begun))
        elif kind == "import above":
            assert isinstance(what, str)
            typist.text, typist.cursor, begun = what + typist.text, typist.cursor + len(what), begun + len(what)
            before += len(what)
        elif isinstance(what, str):
            typist.type(what)
        since_move += max(0, typist.cursor - before)
        shared = typist.look()
        if typist.moved:
            assert since_move >= FREE - len(str(what)), "the window moved too soon"
            since_move = 0
        else:
            assert shared >= 0.95


def test_the_window_follows_when_it_is_full_and_keeps_the_suffix() -> None:
    typist = Typist()
    typist.look()
    assert typist.window
    suffix, moves = typist.window.suffix, 0
    for _ in range(400):
        typist.type("count\n")
        typist.look()
        moves += typist.moved
        assert typist.window
        assert typist.window.suffix == suffix
        assert len(typist.text[typist.window.start : typist.cursor]) <= BUDGET.total - len(suffix)
    assert 1 <= moves <= 400 * len("count\n") / FREE


def test_closers_that_come_and_go_with_the_editor_leave_the_window_alone() -> None:
    typist = Typist()
    typist.look()
    typist.type("total = sum(", behind=")")
    assert typist.look() > 0.95
    typist.type("\n    ", behind="\n")
    assert typist.look() > 0.95
    typist.type('["a", "', behind='"]')
    assert typist.look() > 0.95
    typist.cursor += len('"]\n)')
    assert typist.look() > 0.95
    assert not typist.moved


@pytest.mark.parametrize("elsewhere", [100, len(BLOCKS) - 100, MIDDLE + 300, MIDDLE - 600])
def test_another_place_has_another_window(elsewhere: int) -> None:
    typist = Typist()
    typist.look()
    typist.cursor = BLOCKS.index("\n", elsewhere)
    typist.look()
    assert typist.moved
    assert typist.window
    assert typist.text.startswith(typist.window.suffix, typist.cursor)


def test_the_end_of_a_file_is_no_place_like_any_other() -> None:
    typist = Typist(cursor=len(BLOCKS) - 1)
    typist.look()
    assert typist.window
    assert typist.window.suffix == "\n"
    typist.cursor = BLOCKS.index("\n")
    typist.look()
    assert typist.moved


def test_text_changed_below_is_read_again() -> None:
    typist = Typist()
    typist.look()
    typist.text = typist.text[:MIDDLE] + "x" + typist.text[MIDDLE + 1 :]
    typist.look()
    assert typist.moved


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 15000))
def test_a_budget_within_some_room_fits_and_grows_nowhere(prefix: int, suffix: int, snippets: int, room: int) -> None:
    budget = Budget(prefix, suffix, snippets)
    smaller = budget.within(room)
    assert smaller.total <= max(room, 0) or smaller == budget
    assert smaller.prefix <= prefix
    assert smaller.suffix <= suffix
    assert smaller.snippets <= max(room // 4, 0) or smaller == budget
