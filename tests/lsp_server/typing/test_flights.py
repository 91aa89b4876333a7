"""Requests under way: kept while they fit, cancelled when they do not; and what is asked ahead of time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from inference.protocol import InfillRequest, Priority
from lsp_server.options import Options
from lsp_server.typing import flights
from tests.support.scripted_client import Script
from tests.support.typist import KnowingClient, Typist

SPECULATING = Options(debounce_ms=0)
LIMIT_S = 10


class Heard(KnowingClient):
    """Keeps what the worker would have heard."""

    def __init__(self, says: Callable[[str], tuple[str, ...]], **script: Any) -> None:
        super().__init__(says, Script(**script))
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self._heard = lambda event, _: self.events.put_nowait(event)

    async def next(self) -> str:
        return await asyncio.wait_for(self.events.get(), LIMIT_S)

    @property
    def silent(self) -> bool:
        return self.events.empty()


def typist(text: str, client: Heard, options: Options | None = None) -> Typist:
    return Typist(text, client, options=options)


def value(prefix: str) -> tuple[str, ...]:
    return ("value + 1",) if prefix.endswith("x = ") else ("",)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "IDLE_S", 0.01)


async def test_an_answer_on_its_way_serves_what_was_typed_since() -> None:
    client = Heard(value, hold=True)
    user = typist("x = ‸\n", client)
    first = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    second = asyncio.create_task(user.press("v"))
    third = asyncio.create_task(user.press("al"))
    await asyncio.sleep(0)
    client.gate.release()
    assert await third == ["ue + 1"]
    assert (await first, await second) == ([], [])
    assert user.asked == 1


async def test_what_was_typed_over_without_a_request_is_not_answered() -> None:
    client = Heard(value, hold=True)
    user = typist("x = ‸\n", client)
    first = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    user._change(user.cursor, user.cursor, "v")
    client.gate.release()
    assert await first == []


async def test_of_many_requests_the_newest_is_answered() -> None:
    client = Heard(value)
    user = typist("x = ‸\n", client)
    shown = await asyncio.gather(*(user.press("") for _ in range(10)))
    assert shown == [[]] * 9 + [["value + 1"]]
    assert user.asked == 1


async def test_ghost_text_and_popup_share_one_request() -> None:
    client = Heard(value, hold=True)
    user = typist("x = ‸\n", client, Options(debounce_ms=0, speculate=False, completion_items="on"))
    ghost = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    popup = asyncio.create_task(user.popup())
    await asyncio.sleep(0)
    client.gate.release()
    assert await ghost == ["value + 1"]
    found = await popup
    assert found
    assert [item.label for item in found.items] == ["value + 1"]
    assert user.asked == 1


async def test_one_that_no_longer_fits_is_cancelled() -> None:
    client = Heard(value, hold=True)
    user = typist("x = ‸\ny = \n", client)
    first = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    second = asyncio.create_task(user.press("⌫"))
    assert await client.next() == "cancelled"
    assert await first == []
    assert await client.next() == "infill"
    client.gate.release()
    assert await second == []


class Slow(Heard):
    """Needs a moment to be cancelled, as a connection does."""

    async def infill(self, request: InfillRequest, on_draft: Any = None) -> Any:
        try:
            return await super().infill(request, on_draft)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            raise


async def test_what_was_cancelled_does_not_serve_who_comes_back() -> None:
    client = Slow(value, hold=True)
    user = typist("x = ‸\n", client, Options(debounce_ms=20, speculate=False))
    first = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    second = asyncio.create_task(user.press("⌫"))
    assert await client.next() == "cancelled"
    third = asyncio.create_task(user.press(" "))
    assert await client.next() == "infill"
    for _ in range(2):
        client.gate.release()
    assert (await first, await second, await third) == ([], [], ["value + 1"])


async def test_when_the_answer_was_something_else_the_model_is_asked_again() -> None:
    client = Heard(lambda prefix: ("value",) if prefix.endswith("x = ") else ("uite()",), hold=True)
    user = typist("x = ‸\n", client)
    first = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    second = asyncio.create_task(user.press("q"))
    await asyncio.sleep(0)
    for _ in range(2):
        client.gate.release()
    assert await second == ["uite()"]
    assert await first == []
    assert user.asked == 2


async def test_an_error_on_the_way_is_not_the_newer_request_s() -> None:
    client = Heard(value, hold=True, error="queue_full")
    user = typist("x = ‸\n", client)
    first = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    second = asyncio.create_task(user.press("v"))
    await asyncio.sleep(0)
    client.gate.release()
    assert await first == []
    assert await client.next() == "infill"
    client.gate.release()
    assert await second == []


async def test_what_nobody_waits_for_ends() -> None:
    client = Heard(value, hold=True)
    user = typist("x = ‸\n", client)
    first = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await client.next() == "cancelled"


async def test_closing_ends_it() -> None:
    client = Heard(value, hold=True)
    user = typist("x = ‸\n", client)
    first = asyncio.create_task(user.press(""))
    assert await client.next() == "infill"
    user.session.close_document("file:///project/typed.py")
    assert await client.next() == "cancelled"
    assert await first == []


@pytest.mark.parametrize("script", [{"error": "internal"}, {"error": "superseded"}])
async def test_trouble_is_not_remembered(script: dict[str, str]) -> None:
    user = typist("x = ‸\n", Heard(value, **script))
    assert await user.press("") == []
    assert len(user.session.flights.cache) == 0
    user.client.script = Script()
    assert await user.press("") == ["value + 1"]


class Broken(Heard):
    async def infill(self, request: InfillRequest, on_draft: Any = None) -> Any:
        await super().infill(request, on_draft)
        raise ValueError("a fault of ours")


async def test_a_fault_of_ours_is_an_empty_answer_and_not_remembered() -> None:
    user = typist("x = ‸\n", Broken(value))
    assert await user.press("") == []
    assert await user.press("") == []
    assert user.asked == 2


def chain(prefix: str) -> tuple[str, ...]:
    return ({"x = ": "value", "x = value": " + 1", "x = value + 1": " - 2"}.get(prefix, ""),)


@pytest.mark.usefixtures("hasty")
async def test_what_comes_next_is_computed_while_the_user_reads() -> None:
    client = Heard(chain)
    user = typist("x = ‸\n", client, SPECULATING)
    assert await user.press("") == ["value"]
    assert [await client.next() for _ in range(4)] == ["infill", "answered"] * 2
    assert [request.priority for request in client.requests] == [Priority.INTERACTIVE, Priority.BACKGROUND]
    assert await user.press("⇥") == [" + 1"]
    assert len(client.requests) == 2


@pytest.mark.usefixtures("hasty")
async def test_it_is_computed_once_for_each_suggestion_shown() -> None:
    client = Heard(chain, error="")
    user = typist("x = ‸\n", client, SPECULATING)
    for key in ("", "", "v", "⌫", "", "?"):
        await user.press(key)
        await asyncio.sleep(0.05)
    background = [request for request in client.requests if request.priority is Priority.BACKGROUND]
    assert len(background) == 1


@pytest.mark.usefixtures("hasty")
async def test_it_is_not_tried_again_after_an_error() -> None:
    client = Heard(chain)
    user = typist("x = ‸\n", client, SPECULATING)
    await user.press("")
    client.script = Script(error="queue_full")
    for _ in range(3):
        await asyncio.sleep(0.05)
        assert await user.press("") == ["value"]
    assert len(client.requests) == 2


@pytest.mark.usefixtures("hasty")
async def test_typing_along_does_not_end_it_and_another_request_does() -> None:
    client = Heard(chain)
    user = typist("x = ‸\ny = \n", client, SPECULATING)
    await user.press("")
    client.script = Script(hold=True)
    assert [await client.next() for _ in range(3)] == ["infill", "answered", "infill"]
    assert await user.press("v") == ["alue"]
    assert client.silent
    other = asyncio.create_task(user.press("q"))
    assert await client.next() == "cancelled"
    assert await client.next() == "infill"
    client.gate.release()
    assert await other == []


@pytest.mark.usefixtures("hasty")
async def test_taking_a_suggestion_waits_for_what_is_computed_ahead() -> None:
    client = Heard(chain)
    user = typist("x = ‸\n", client, SPECULATING)
    await user.press("")
    client.script = Script(hold=True)
    assert [await client.next() for _ in range(3)] == ["infill", "answered", "infill"]
    taken = asyncio.create_task(user.press("⇥"))
    await asyncio.sleep(0)
    client.gate.release()
    assert await taken == [" + 1"]
    assert len(client.requests) == 2


@pytest.mark.usefixtures("hasty")
async def test_nothing_is_computed_ahead_when_switched_off_or_typed_on() -> None:
    for options, key in ((Options(debounce_ms=0, speculate=False), ""), (SPECULATING, "v")):
        client = Heard(chain)
        user = typist("x = ‸\n", client, options)
        await user.press("")
        if key:
            user._change(user.cursor, user.cursor, key)  # and no request follows
        await asyncio.sleep(0.05)
        assert len(client.requests) == 1


async def test_who_reads_no_longer_than_a_moment_has_nothing_computed() -> None:
    client = Heard(chain)
    user = typist("x = ‸\n", client, SPECULATING)
    await user.press("")
    await asyncio.sleep(flights.IDLE_S / 4)
    await user.press("q")
    assert all(request.priority is Priority.INTERACTIVE for request in client.requests)
    user.session.close_document("file:///project/typed.py")


async def test_who_asks_for_more_keeps_what_he_sees() -> None:
    answers = iter([("value + 1",), ("other()", "value + 1", "third"), ("",)])
    user = typist("x = ‸\n", Heard(lambda _: next(answers)))
    assert await user.press("") == ["value + 1"]
    assert await user.press("?") == ["value + 1", "other()", "third"]
    assert await user.press("") == ["value + 1", "other()", "third"]


async def test_who_asks_for_more_where_there_is_no_more_keeps_what_he_sees() -> None:
    answers = iter([("value + 1",), ("",)])
    user = typist("x = ‸\n", Heard(lambda _: next(answers)))
    assert await user.press("") == ["value + 1"]
    assert await user.press("?") == ["value + 1"]
    assert await user.press("") == ["value + 1"]
