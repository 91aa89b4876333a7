from __future__ import annotations

from collections.abc import Iterator

from inference.protocol import InfillResult, Timings, Usage
from lsp_server.context.contexts import SNIPPETS_LAST_S, Contexts
from lsp_server.context.room import Room
from lsp_server.context.surroundings import Surroundings
from lsp_server.context.window import Budget, Window
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import find_gap

BUDGET = Budget(4000, 1500, 600)
LONG = "".join(f"def function_{n}(items):\n    return items[{n}]\n\n\n" for n in range(300))
OTHER = DocumentSnapshot("file:///other.py", 1, "python", "def function_of(items):\n    return items.other\n")
CHANGED = DocumentSnapshot("file:///other.py", 2, "python", "def function_of(items):\n    return items.changed\n")


def answer(prompt: int, truncated: int, model: str = "a") -> InfillResult:
    usage = Usage(
        prompt_tokens=prompt, cached_tokens=0, canvas_tokens=16, denoising_steps=4, truncated_tokens=truncated
    )
    return InfillResult(
        choices=(), usage=usage, timings_ms=Timings(queue=0, encode=0, denoise=0, total=0), model=model, engine="e"
    )


class Looked:
    """The other documents of a desk, which counts how often somebody looks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __iter__(self) -> Iterator[DocumentSnapshot]:
        self._desk.looked += 1
        yield self._desk.other


class Desk:
    """One document being typed into, and a clock."""

    def __init__(self, text: str = LONG) -> None:
        self.now, self.looked = 0.0, 0
        self.text, self.other = text, OTHER
        self.contexts = Contexts(lambda: self.now)
        self.cursor = text.index("\n\n", len(text) // 2) + 1

    def window(self, typed: str = "", budget: Budget = BUDGET) -> Window:
        self.text = self.text[: self.cursor] + typed + self.text[self.cursor :]
        self.cursor += len(typed)
        snapshot = DocumentSnapshot("file:///a.py", 1, "python", self.text)
        gap = find_gap(snapshot, self.cursor, None, invoked=True)
        assert gap
        return self.contexts.window(snapshot, gap, budget, Surroundings(Looked(self)))


def test_while_typing_other_files_may_change_and_the_prompt_does_not() -> None:
    desk = Desk()
    first = desk.window()
    assert "items.other" in first.snippets
    desk.other = CHANGED
    assert desk.window("x = 1\n") == first
    assert desk.looked == 1


def test_after_a_save_or_some_minutes_snippets_are_chosen_again_and_the_rest_stays() -> None:
    for pause in (True, False):
        desk = Desk()
        first = desk.window()
        desk.other = CHANGED
        if pause:
            desk.now += SNIPPETS_LAST_S + 1
        else:
            desk.contexts.saved()
        again = desk.window("x")
        assert "items.changed" in again.snippets
        assert (again.start, again.suffix) == (first.start, first.suffix)
        desk.window("y")
        assert desk.looked == 2


def test_switched_off_nobody_looks_at_other_files() -> None:
    desk = Desk()
    assert desk.window(budget=Budget()).snippets == ""
    assert desk.looked == 0


def test_an_answer_that_had_to_be_cut_makes_the_next_window_fit() -> None:
    desk = Desk()
    desk.window()
    desk.contexts.learn("file:///a.py", 5500, answer(prompt=400, truncated=1435))
    window = desk.window()
    sent = len(window.suffix) + len(window.snippets) + desk.cursor - window.start
    assert sent <= 400 * 5500 / 1835
    desk.contexts.learn("file:///a.py", sent, answer(prompt=sent // 3, truncated=0))
    assert desk.window("x") == window, "what fits is left as it is"


def test_a_room_that_becomes_smaller_is_noticed() -> None:
    room = Room().after(answer(400, 1000).usage)
    assert room == Room(400)
    assert room.after(answer(380, 300).usage) == Room(400), "text was denser than thought"
    assert room.after(answer(390, 0).usage) == Room(400)
    assert room.after(answer(440, 0).usage) == Room(440)
    assert room.after(answer(200, 180).usage) == Room(200), "it should have fitted"


def test_a_model_that_reads_all_gets_all() -> None:
    desk = Desk()
    first = desk.window()
    desk.contexts.learn("file:///a.py", 5500, answer(prompt=1800, truncated=0))
    assert desk.window() == first
    assert desk.cursor - first.start > BUDGET.prefix // 2


def test_another_model_has_another_room() -> None:
    desk = Desk()
    desk.contexts.learn("file:///a.py", 5500, answer(prompt=400, truncated=1400))
    desk.contexts.learn("file:///b.py", 5500, answer(prompt=1800, truncated=0, model="b"))
    assert desk.cursor - desk.window().start > BUDGET.prefix // 2


def test_a_closed_document_is_forgotten() -> None:
    desk = Desk()
    desk.window()
    desk.contexts.forget("file:///a.py")
    desk.window()
    assert desk.looked == 2
