"""Typing sessions: what is shown after each key, and whether the model was asked (``tests/data/typing_sessions``)."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from lsp_server.options import Options
from lsp_server.positions import Encoding
from tests.support.typist import KnowingClient, Typist

DATA = Path(__file__).parents[2] / "data/typing_sessions"
SESSIONS = [one for path in sorted(DATA.glob("*.toml")) for one in tomllib.loads(path.read_text("utf-8"))["session"]]


def typist_of(session: dict[str, Any]) -> Typist:
    def says(prefix: str) -> tuple[str, ...]:
        found = (candidates for end, *candidates in session["model"] if prefix.endswith(end))
        return tuple(next(found, [""]))

    options = Options(debounce_ms=0, speculate=False, candidates=session.get("candidates", 1))
    return Typist(
        session["text"],
        KnowingClient(says),
        language_id=session.get("language", "python"),
        encoding=Encoding(session.get("encoding", "utf-16")),
        options=options,
    )


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session["name"])
async def test_each_key_shows(session: dict[str, Any]) -> None:
    typist = typist_of(session)
    happened = []
    for key, _, _ in session["keys"]:
        asked = typist.asked
        shown = await typist.press(key)
        happened.append([key, " | ".join(shown), "model" if typist.asked > asked else "cache"])
    assert happened == session["keys"]
