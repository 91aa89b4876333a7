"""A bar for people who watch; a line now and then for those who read it later."""

import io

import pytest
from rich.console import Console

from lsp_server.bench import progress as module
from lsp_server.bench.progress import progress


def said(*, terminal: bool) -> str:
    text = io.StringIO()
    with progress("typing", 3, Console(file=text, force_terminal=terminal, width=80)) as advance:
        advance("")
        advance("pass@1 0.500")
        advance("")
    return text.getvalue()


def test_a_terminal_gets_a_bar_that_is_gone_in_the_end() -> None:
    assert "pass@1 0.500" in said(terminal=True)
    assert "\x1b[" in said(terminal=True)


def test_elsewhere_what_is_quick_is_not_talked_about() -> None:
    assert said(terminal=False) == ""


def test_elsewhere_what_is_slow_is_a_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    assert said(terminal=False) == "typing: 1 of 3\n"
    monkeypatch.setattr(module, "LINE_S", 0.0)
    assert said(terminal=False) == "typing: 1 of 3\npass@1 0.500: 2 of 3\n"
