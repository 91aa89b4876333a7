"""A real worker with the embedded checkpoint: proposals on the wire, judged, and counted."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.checkpoint import EMBEDDED
from inference.formats.infill_spec import InfillSpec
from inference.protocol import InfillResult, decode
from tests.support.worker_process import Process
from tests.support.worker_room import WorkerRoom, room_in

WORKER = (sys.executable, "-P", "-m", "inference")
PREFIX = """class Box:
    def __init__(self, width, height, depth, colour):
        self.width = width
        self.height = height
        self.depth = depth
        self.col"""
SUFFIX = "\n\n    def area(self):\n        return self.width * self.height\n"
LIKELY, UNLIKELY = "our = colour", "lection_name_of = {17: None} if"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


async def test_proposals_from_request_to_answer(room: WorkerRoom) -> None:
    calibration = InfillSpec.load(EMBEDDED).calibration
    assert calibration is not None
    process = Process(room, "--device", "cpu", command=WORKER)
    asked = {"prefix": PREFIX, "suffix": SUFFIX, "max_tokens": 15, "language_id": "python", "seed": 1}
    even = [{"text": UNLIKELY}, {"text": LIKELY}]
    found = [{"text": LIKELY, "evidence": 4.0}, {"text": UNLIKELY, "evidence": -4.0}]
    async with process.ready() as client:

        async def infill(**more: object) -> InfillResult:
            answer = await client.post("/v1/infill", json=asked | more)
            assert answer.status_code == 200, answer.text
            return decode(InfillResult, answer.json())

        at_once = await infill(proposals=found)
        judged = await infill(proposals=even, n=3)
        alone = await infill()
        metrics = (await client.get("/metrics")).text

    (choice,) = at_once.choices
    assert (choice.fills[0].text, choice.proposed) == (LIKELY, True)
    assert choice.confidence >= at_once.confidence_floor == calibration.floor
    assert at_once.usage.denoising_steps == 0
    confidence = {choice.fills[0].text: choice.confidence for choice in judged.choices}
    assert confidence[LIKELY] > confidence.get(UNLIKELY, 0.0)  # by what the model says alone
    assert judged.usage.denoising_steps > 0
    assert not alone.choices[0].proposed
    assert alone.choices[0].confidence < alone.confidence_floor  # it is too small to be trusted with a line
    assert 'lacuna_answers_total{source="proposal"}' in metrics
