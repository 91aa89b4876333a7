"""What this machine offers to compute with. ``python -m inference.device`` prints it as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass


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


if __name__ == "__main__":
    print(json.dumps([asdict(device) for device in devices()]))
