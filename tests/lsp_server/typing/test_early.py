"""Early answers: what has been shown is only ever extended, whatever the model makes of the rest."""

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from inference.protocol import Draft, InfillRequest, InfillResult
from lsp_server.options import Options
from tests.support.scripted_client import Script
from tests.support.typist import KnowingClient, Typist

LINES = st.sampled_from(["a = 1", "b = 2", "    c", "f(a)", ""])
DRAFTS = st.lists(st.lists(LINES, max_size=3).map("\n    ".join), min_size=1, max_size=7)
EARLY = Options(debounce_ms=0, speculate=False, early_answers=True)


class Drafting(KnowingClient):
    """Says ``drafts`` one after the other, the last for good once it is released."""

    def __init__(self, drafts: list[str], confidence: float = 0.9) -> None:
        super().__init__(lambda prefix: (drafts[-1],), Script(hold=True, confidence=confidence))
        self._drafts = drafts

    async def infill(self, request: InfillRequest, on_draft: Callable[[Draft], None] | None = None) -> InfillResult:
        if on_draft:
            for number, draft in enumerate(self._drafts, 1):
                on_draft(Draft(number, len(self._drafts), (draft,)))
        return await super().infill(request, None)


def typist(client: Drafting, options: Options = EARLY) -> Typist:
    return Typist("def f():\n    ‸\n", client, options=options)


async def settled(client: Drafting) -> None:
    client.gate.release()
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_first_lines_come_early_and_the_rest_with_the_next_request() -> None:
    client = Drafting(["a = 1\n    b"] * 3 + ["a = 1\n    return a"])
    user = typist(client)
    assert await user.press("") == ["a = 1"]
    assert await user.press("a") == [" = 1"]
    await settled(client)
    assert await user.press("") == [" = 1\n    return a"]
    assert user.asked == 1


async def test_who_has_typed_the_first_lines_waits_for_the_rest() -> None:
    client = Drafting(["a = 1\n    b"] * 3 + ["a = 1\n    return a"])
    user = typist(client)
    await user.press("")
    taken = asyncio.create_task(user.press("⇥"))
    await asyncio.sleep(0)
    client.gate.release()
    assert await taken == ["\n    return a"]
    assert user.asked == 1


async def test_shown_lines_stay_when_the_model_thinks_again() -> None:
    for client in (Drafting(["a = 1\n    b"] * 3 + ["b = 2"]), Drafting(["a = 1\n    b"] * 4, confidence=0.0)):
        user = typist(client)
        assert await user.press("") == ["a = 1"]
        await settled(client)
        assert await user.press("") == ["a = 1"]


async def test_only_when_asked_for() -> None:
    client = Drafting(["a = 1\n    b"] * 3)
    user = typist(client, Options(debounce_ms=0, speculate=False))
    client.gate.release()
    assert await user.press("") == ["a = 1\n    b"]


@settings(max_examples=60, deadline=None)
@given(DRAFTS, st.integers(0, 6), st.booleans())
def test_what_was_shown_is_never_changed(drafts: list[str], typed: int, late: bool) -> None:
    asyncio.run(_shown(drafts, typed, late))


async def _shown(drafts: list[str], typed: int, late: bool) -> None:
    client = Drafting(drafts)
    user = typist(client)
    first = asyncio.create_task(user.press(""))
    for _ in range(10):
        await asyncio.sleep(0)
    if not first.done():
        client.gate.release()
    shown = await first
    if not shown:
        return
    before = user.applied(user.items[0]).rstrip()
    if not late:
        await settled(client)
    left = shown[0]
    for char in left[: min(typed, len(left.rstrip()) - 1)]:
        await user.type(char)
        assert user.applied(user.items[0]).startswith(before)
    if late:
        await settled(client)
    assert await user.look()
    assert user.applied(user.items[0]).startswith(before)
    client.gate.release()
