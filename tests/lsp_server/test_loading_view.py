"""A model being loaded, as a terminal and as a pipe see it."""

import io

import pytest
from rich.console import Console

from inference.protocol import Health, WorkerState
from lsp_server.commands.loading_view import LoadingView

HALF = Health(
    state=WorkerState.LOADING, model="m", engine="local", progress=0.5, message="reading weights [1.0 of 2.0 GB]"
)


def shown(*, terminal: bool, moment_s: float) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, color_system=None, legacy_windows=False)
    with LoadingView(console, moment_s=moment_s) as view:
        for _ in range(3):
            view.show(HALF)
    return text.getvalue()


def test_a_pipe_gets_plain_lines_and_none_twice() -> None:
    assert shown(terminal=False, moment_s=0.0) == "lacuna: loading 50%, reading weights [1.0 of 2.0 GB]\n"


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    text = shown(terminal=True, moment_s=0.0)
    assert "reading weights [1.0 of 2.0 GB]" in text
    assert "50%" in text
    assert "━" in text
    assert text.rstrip().endswith("\x1b[2K")


@pytest.mark.parametrize("terminal", [True, False])
def test_what_takes_a_moment_only_is_not_shown(terminal: bool) -> None:
    assert shown(terminal=terminal, moment_s=60.0) == ""
