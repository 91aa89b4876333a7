"""What the user switched by hand: it lives as long as the session and outlives any reload of the settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from lsp_server.options import Options

MAX_SNOOZE_MINUTES = 7 * 24 * 60


class Switches:
    """``clock`` counts seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._all: bool | None = None
        self._languages: dict[str, bool] = {}
        self._snoozed_until = 0.0

    @property
    def snoozed_until(self) -> float | None:
        """When suggestions come back by themselves, in seconds since 1970; None if they are not snoozed."""
        return self._snoozed_until if self._snoozed_until > self._clock() else None

    def toggle(self, options: Options, language: str | None = None, on: bool | None = None) -> None:
        """Turn round what holds now, for one language or for all; ``on`` says to which side. ``options`` are applied.

        Switching all on ends a snooze.
        """
        if language is not None:
            self._languages[language] = (language in options.disabled_languages) if on is None else on
            return
        self._all = (not options.enabled) if on is None else on
        self._snoozed_until = 0.0

    def snooze(self, minutes: float) -> None:
        """No suggestions for that long; 0 ends it."""
        self._snoozed_until = self._clock() + 60 * min(minutes, MAX_SNOOZE_MINUTES)

    def apply(self, options: Options) -> Options:
        """The settings as they hold now."""
        enabled = options.enabled if self._all is None else self._all
        disabled = [name for name in options.disabled_languages if not self._languages.get(name)]
        disabled += [name for name, on in self._languages.items() if not on and name not in disabled]
        return replace(options, enabled=enabled and self.snoozed_until is None, disabled_languages=tuple(disabled))
