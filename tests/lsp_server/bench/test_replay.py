"""Typing again what was recorded: an answer belongs to a key that no other overtook."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.protocol import Fixed
from lsp_server.bench.recording import DEFAULT, BadRecording, Key, Recording, read_recording
from lsp_server.bench.replay import Answer, Replay
from lsp_server.bench.report import latency_report
from lsp_server.options import Options
from lsp_server.worker_client import WorkerError, WorkerUnavailable
from tests.support.scripted_client import Script, ScriptedClient

CART = Path(__file__).parents[2] / "data/typing/cart.json"
LONG_FILE = CART.with_name("long_file.json")
TEXT = "def f(x):\n    \n"
SLOW = Recording("a.py", "python", TEXT, (Key(0.0, 14, "ret"), Key(120.0, 17, "urn"), Key(240.0, 20, " y")))
OPTIONS = Options(debounce_ms=1)


async def replayed(recording: Recording, script: Script, speed: float = 1.0) -> tuple[list[Answer], ScriptedClient]:
    client = ScriptedClient(script)
    return await Replay(recording, client, OPTIONS, speed=speed).run(), client


@pytest.mark.parametrize("path", [DEFAULT, CART, LONG_FILE])
def test_the_recordings_are_typed_in_full(path: Path) -> None:
    recording = read_recording(path)
    text = recording.text
    for key in recording.keys:
        text = text[: key.at] + key.insert + text[key.at + key.delete :]
    assert any(
        line in text for line in ("del self.items[name]", "return sum;", "del ordered[limit:]\n    return ordered")
    )
    pauses = [after.t_ms - before.t_ms for before, after in zip(recording.keys, recording.keys[1:], strict=False)]
    assert 50 < sorted(pauses)[len(pauses) // 2] < 250
    assert any(key.delete for key in recording.keys)


async def test_every_key_in_peace_is_answered_from_the_text_of_its_moment() -> None:
    answers, client = await replayed(SLOW, Script())
    assert len(answers) == len(SLOW.keys)
    last = client.requests[-1].segments[0]
    assert isinstance(last, Fixed)
    assert last.text.endswith("    return y"), "what was suggested so far does not go on like this"
    report = latency_report(len(SLOW.keys), answers)
    assert (report["overtaken"], report["asked"]) == (0, len(client.requests))
    assert 1 <= report["spoke"] <= report["asked"]
    assert report["mean_steps"] == 4
    assert report["cached_tokens_share"] == 0
    assert report["latency_ms"]["p50"] >= 1


async def test_a_key_that_the_next_overtakes_has_no_answer() -> None:
    answers, _ = await replayed(SLOW, Script(), speed=1000)
    assert len(answers) < len(SLOW.keys)
    assert latency_report(len(SLOW.keys), answers)["overtaken"] == len(SLOW.keys) - len(answers)
    assert len(answers) >= 1  # the last one nobody overtakes


async def test_deleting_is_typing_too() -> None:
    keys = (Key(0.0, 14, "retun"), Key(50.0, 17, delete=2), Key(100.0, 17, "urn "))
    _, client = await replayed(replace(SLOW, keys=keys), Script())
    last = client.requests[-1].segments[0]
    assert isinstance(last, Fixed)
    assert last.text.endswith("    return ")


async def test_being_overtaken_at_the_worker_is_no_failure_but_others_are() -> None:
    answers, _ = await replayed(SLOW, Script(error="superseded"))
    assert all(answer.result is None for answer in answers)
    with pytest.raises(WorkerError, match="as the script says"):
        await replayed(SLOW, Script(error="internal"))
    with pytest.raises(WorkerUnavailable):
        await replayed(SLOW, Script(state="loading"))


def _with(**changes: Any) -> dict[str, Any]:
    return {"name": "a.py", "language_id": "python", "text": "ab", "keys": [{"t_ms": 1, "at": 0}]} | changes


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is no recording of typing"),
        (json.dumps(_with(keys=[{"at": 0}])), "is no recording of typing"),
        (json.dumps(_with(keys=[])), "holds no keys"),
        (json.dumps(_with(keys=[{"t_ms": 1, "at": 3, "insert": "x"}])), "key 1 is outside the document"),
        (json.dumps(_with(keys=[{"t_ms": 1, "at": 1, "delete": 2}])), "key 1 is outside"),
        (json.dumps(_with(keys=[{"t_ms": 2, "at": 1}, {"t_ms": 1, "at": 1}])), "key 2 comes before"),
    ],
)
def test_a_recording_it_cannot_use_is_named(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(BadRecording, match=sentence):
        read_recording(path)
