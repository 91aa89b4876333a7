"""The whole way over the wire: the real server, the real worker, the embedded model, the shipped samples."""

import json
from pathlib import Path

import pytest

from lsp_server.syntax.languages import language_id_of
from tests.support.editor import editor

SAMPLES = Path(__file__).parent.parent / "data/samples"
INVOKED = 1

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


async def test_every_sample_is_answered_in_place_and_the_same_way_twice(real_server: list[str]) -> None:
    samples = json.loads((SAMPLES / "samples.json").read_text())
    spoke = 0
    async with editor(command=real_server, options={"confidenceFloor": 0, "deadlineMs": 25_000}) as one:
        status = await one.heard("lacuna/status")
        while status.state not in ("ready", "error"):
            status = await one.heard("lacuna/status")
        assert (status.state, status.model) == ("ready", "lacuna-default")
        for sample in samples:
            path = SAMPLES / sample["file"]
            line, column = (int(number) - 1 for number in sample["at"].split(":"))
            one.open(path.read_text(), path.as_uri(), language_id_of(path))
            items, again = [await one.complete(line, column, path.as_uri(), INVOKED) for _ in range(2)]
            assert items == again
            for item in items:
                assert item.range
                assert (item.range.start.line, item.range.start.character) == (line, column)
                assert item.range.end == item.range.start
                assert str(item.insert_text).strip()
            spoke += bool(items)
    assert spoke, "the model has nothing to say to any sample"


async def test_while_the_model_loads_the_answer_is_empty_and_the_status_says_so(real_server: list[str]) -> None:
    async with editor(command=real_server, options={"confidenceFloor": 0}) as one:
        one.open("x = \n")
        assert await one.complete(0, 4, kind=INVOKED) == []
        status = await one.heard("lacuna/status")
        assert status.state in ("starting", "loading")
