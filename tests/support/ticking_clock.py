"""Time that passes with every look at the clock and never otherwise: what is planned in minutes then counts steps."""

import itertools
from types import SimpleNamespace

import pytest

TRAINING = ("call", "distil", "finetuning", "packed_train")


def tick_in_training(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Each look at the clock of the training room lets ``seconds`` pass; a step looks about five times."""
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks) * seconds)
    for module in TRAINING:
        monkeypatch.setattr(f"inference.training.{module}.time", clock)
