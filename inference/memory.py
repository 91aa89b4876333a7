"""Whether a checkpoint fits into memory, known before the first byte of it is read."""

from __future__ import annotations

from collections.abc import Iterable

from inference.device import Device, free_bytes
from inference.errors import EngineError
from inference.protocol import ErrorCode
from inference.weights import Weights

_BYTES = {"bf16": 2, "fp8": 1, "fp32": 4}
_SHARE_FOR_WORK = 1 / 16
"""Of the weights' bytes, what prompts, canvases and logits may want besides."""


def check_memory(
    name: str,
    weights: Weights,
    precision: str,
    device: Device,
    *,
    quantised: bool = False,
    twice: Iterable[str] = (),
) -> None:
    """Raise :class:`EngineError` (``out_of_memory``) when the weights cannot fit; it names both sizes and a way out.

    ``precision`` is ``bf16``, ``fp8`` or ``fp32``; ``quantised`` weights stay as they are stored; those ``twice`` are
    kept by encoder and decoder each for itself.
    """
    free, names = free_bytes(device.kind), [*weights, *twice]
    needed = weights.total_bytes if quantised else weights_bytes(weights, precision, names)
    needed = int(needed * (1 + _SHARE_FOR_WORK))
    if free is None or needed <= free:
        return
    ways = []
    if not quantised and precision != "fp8":
        smaller = weights_bytes(weights, "fp8", names) * (1 + _SHARE_FOR_WORK)
        if smaller <= free:
            ways.append(f"load it with --precision fp8 ({smaller / 1e9:.1f} GB)")
    ways += ["free some", "choose a smaller model or the embedded one (no --model)"]
    where = "host" if device.kind == "cpu" else device.kind
    raise EngineError(
        f"{name} needs {needed / 1e9:.1f} GB of {where} memory and {free / 1e9:.1f} GB are free; {', or '.join(ways)}",
        ErrorCode.OUT_OF_MEMORY,
    )


def weights_bytes(weights: Weights, precision: str, names: Iterable[str] | None = None) -> int:
    """Bytes in memory of all weights, or of those of ``names``; of fp8 are the layers' matrices, the rest stays in
    bf16."""
    total = 0
    for name in weights if names is None else names:
        stored = weights.stored(name)
        is_matrix = len(stored.shape) > 1 and ".layers." in name
        total += stored.elements * (2 if precision == "fp8" and not is_matrix else _BYTES[precision])
    return total
