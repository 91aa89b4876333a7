"""What this machine offers to compute with. ``python -m inference.device`` prints it as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from inference.errors import EngineError


@dataclass(frozen=True)
class Device:
    """One place where a model can run. ``memory_bytes`` is the total there; ``bfloat16`` whether it is native."""

    name: str
    kind: str
    memory_bytes: int
    bfloat16: bool


def devices() -> list[Device]:
    """Return the devices torch can use, best first. Raises ImportError without torch."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(Device(properties.name, f"cuda:{index}", properties.total_memory, torch.cuda.is_bf16_supported()))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    found.append(Device(f"{torch.get_num_threads()} CPU threads", "cpu", memory, bool(bf16)))
    return found


def choose_device(wanted: str | None) -> Device:
    """The best device, or the one called ``wanted``: ``cpu``, ``cuda:1``; ``cuda`` is the first of its kind.

    Raises :class:`EngineError` when it is not there.
    """
    found = devices()
    if wanted is None:
        return found[0]
    for device in found:
        if wanted in (device.kind, device.kind.partition(":")[0]):
            return device
    there = ", ".join(device.kind for device in found)
    raise EngineError(f"there is no device {wanted!r} that torch can use here; there is {there}")


def free_bytes(kind: str) -> int | None:
    """Memory that a device can still give, None where that cannot be found out."""
    if kind == "cpu":
        return _free_host_bytes()
    import torch

    return int(torch.cuda.mem_get_info(kind)[0])


def _free_host_bytes() -> int | None:
    """What the system and this process's control group leave; the page cache counts as free."""
    bounds = [_in_control_group()]
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                bounds.append(int(line.split()[1]) * 1024)
    except OSError:
        pass
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def _in_control_group(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    try:
        limit, used = (root / "memory.max").read_text().strip(), (root / "memory.current").read_text()
        cached = dict(line.split() for line in (root / "memory.stat").read_text().splitlines()).get("file", "0")
        return None if limit == "max" else int(limit) - int(used) + int(cached)
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    print(json.dumps([asdict(device) for device in devices()]))
