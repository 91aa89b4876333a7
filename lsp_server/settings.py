"""Where a window's options come from: what it was started with, what its configuration says, what was switched."""

from __future__ import annotations

from typing import Any

from lsp_server.options import SECTION, Options, read_options
from lsp_server.switches import Switches


class Settings:
    """Each layer goes over the one before: defaults, ``initializationOptions``, configuration, switches."""

    def __init__(self) -> None:
        self.switches = Switches()
        self.trusted = True
        """Whether the user trusts the workspace: no setting says that."""
        self._initial = Options()
        self._configured = Options()
        self._told_first: set[str] = set()
        self._told: set[str] = set()

    @property
    def options(self) -> Options:
        """The options as they hold now."""
        return self.switches.apply(self._configured)

    def initialize(self, raw: object) -> list[str]:
        """Take in ``initializationOptions``; returns what is wrong with them."""
        problems = []
        if isinstance(raw, dict) and "trusted" in raw:
            trusted = raw["trusted"]
            self.trusted = trusted is True
            raw = {name: value for name, value in raw.items() if name != "trusted"}
            if not isinstance(trusted, bool):
                problems.append("Option 'trusted' must be true or false; the workspace is taken as not trusted.")
        self._initial, others = read_options(raw)
        self._configured = self._initial
        self._told_first = self._told = {*problems, *others}
        return problems + others

    def configure(self, raw: object) -> list[str]:
        """Take in the configuration as a whole; returns what is wrong with it and was not wrong the last time."""
        self._configured, problems = read_options(raw, self._initial, source=f"The setting {SECTION!r}")
        untold = [problem for problem in problems if problem not in self._told]
        self._told = self._told_first | set(problems)
        return untold


def as_plain(value: Any) -> Any:
    """What a message's free part holds, as dictionaries and lists: pygls hands out objects."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: as_plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(one) for one in value]
    return value
