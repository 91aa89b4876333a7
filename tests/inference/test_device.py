"""Which device a model goes to, and how much memory it has left."""

from pathlib import Path

import pytest

from inference import device
from inference.device import Device, choose_device, free_bytes
from inference.errors import EngineError

CPU = Device("2 CPU threads", "cpu", 8, bfloat16=False)
FIRST, SECOND = (Device("a card", f"cuda:{index}", 80, bfloat16=True) for index in range(2))


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [(None, FIRST), ("cuda", FIRST), ("cuda:0", FIRST), ("cuda:1", SECOND), ("cpu", CPU)],
)
def test_the_best_or_the_one_asked_for(monkeypatch: pytest.MonkeyPatch, wanted: str | None, chosen: Device) -> None:
    monkeypatch.setattr(device, "devices", lambda: [FIRST, SECOND, CPU])
    assert choose_device(wanted) == chosen


@pytest.mark.parametrize("wanted", ["cuda:7", "tpu", "", "cuda:", "CPU"])
def test_one_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr(device, "devices", lambda: [FIRST, CPU])
    with pytest.raises(EngineError, match=rf"no device '{wanted}' that torch can use here; there is cuda:0, cpu$"):
        choose_device(wanted)


def test_this_machine_has_some_memory_left() -> None:
    free = free_bytes("cpu")
    assert free is None or 10**6 < free < 10**14


def test_a_control_group_bounds_it(tmp_path: Path) -> None:
    """Pages of files can be dropped, so they count as free."""
    for name, content in (("max", "1000"), ("current", "900"), ("stat", "anon 500\nfile 400\n")):
        (tmp_path / f"memory.{name}").write_text(content)
    assert device._in_control_group(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert device._in_control_group(tmp_path) is None
    assert device._in_control_group(tmp_path / "nowhere") is None
