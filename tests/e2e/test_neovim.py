"""Ghost text in a real Neovim: typed, shown, accepted, and never stale."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.neovim import NVIM, Neovim

# On Linux the dev extra brings nvim: its absence is a broken set-up, not a reason to skip.
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(NVIM is None and sys.platform != "linux", reason="no nvim")]

Start = Callable[..., Neovim]

SHELF = "items = {'book': 2}\ntotal = sum(items.values())\n"
OPENINGS = [
    f"{name} = " for name in ("count", "name", "value", "index", "result", "first", "last", "self", "text", "key")
]


def scripted(**script: object) -> list[str]:
    return [sys.executable, "-m", "tests.support.scripted_server", json.dumps(script)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Neovim] = []

    def one(name: str, content: str, command: list[str], **options: object) -> Neovim:
        file = tmp_path / name
        file.write_bytes(content.encode())
        neovim = Neovim(tmp_path, command, file, {"debounceMs": 0, **options})
        started.append(neovim)
        neovim.attached()
        return neovim

    yield one
    for neovim in started:
        neovim.close()


def test_typed_shown_accepted(start: Start) -> None:
    neovim = start("a.py", "", scripted(fills=["40 + 2"]))
    neovim.type("ianswer = ")
    assert neovim.until(lambda: neovim.ghost) == "40 + 2"
    neovim.accept()
    neovim.until(lambda: neovim.text == "answer = 40 + 2")


def test_in_the_middle_of_a_line_behind_an_emoji(start: Start) -> None:
    neovim = start("a.py", 'f("🎉", , 3)\n', scripted(fills=["second, 3)"]))
    neovim.type("0f,la")
    assert neovim.until(lambda: neovim.ghost) == "second"
    neovim.accept()
    neovim.until(lambda: neovim.text == 'f("🎉", second, 3)')


def test_a_body_of_several_lines(start: Start) -> None:
    neovim = start("a.py", "def f(x):\n    \n\ny = 1\n", scripted(fills=["    a = x\n    return a\n\ny = 1"]))
    neovim.type("jA")
    assert neovim.until(lambda: neovim.ghost) == "a = x\n    return a"
    neovim.accept()
    neovim.until(lambda: neovim.text == "def f(x):\n    a = x\n    return a\n\ny = 1")


def test_a_dos_file_gets_no_stray_carriage_return(start: Start) -> None:
    neovim = start("a.py", "def f(x):\r\n    \r\n", scripted(fills=["a = x\n    return a"]))
    neovim.type("jA")
    neovim.until(lambda: neovim.ghost)
    neovim.accept()
    neovim.until(lambda: neovim.text == "def f(x):\n    a = x\n    return a")
    assert neovim.lua("return vim.bo.fileformat") == "dos"


def test_a_save_does_not_wait_for_the_model(start: Start, tmp_path: Path) -> None:
    neovim = start("a.py", "", scripted(fills=["1"], hold=True))
    neovim.type("ix = ")
    neovim.type("<Esc>:w<CR>")
    neovim.until(lambda: (tmp_path / "a.py").read_text() == "x = \n")
    assert not neovim.ghost


def test_markdown(start: Start) -> None:
    neovim = start("a.md", "- one\n- \n", scripted(fills=["two"]))
    neovim.type("jA")
    assert neovim.until(lambda: neovim.ghost) == "two"
    neovim.accept()
    neovim.until(lambda: neovim.text == "- one\n- two")


def test_an_answer_overtaken_by_typing_is_never_shown(start: Start) -> None:
    neovim = start("a.py", "x = \n", scripted(fills=["stale text"], hold=True))
    heard = "return #vim.tbl_filter(function(e) return e == '{}' end, _G.heard)"
    neovim.lua(
        """_G.heard = {}
        for _, event in ipairs({'infill', 'cancelled', 'answered'}) do
          vim.lsp.handlers['fake/' .. event] = function() table.insert(_G.heard, event) end
        end"""
    )
    neovim.type("A")
    neovim.until(lambda: neovim.lua(heard.format("infill")) == 1)
    # The worker is still thinking about `x = `; Neovim does not cancel, and its next request is 200 ms away.
    neovim.lua(
        """local client = vim.lsp.get_clients({name = 'lacuna'})[1]
        vim.api.nvim_buf_set_text(0, 0, 4, 0, 4, {'y'})
        require('vim.lsp._changetracking').flush(client, 0)
        client:notify('fake/release', {})"""
    )
    neovim.until(lambda: neovim.lua(heard.format("answered")) == 1)
    neovim.lua(
        """local client = vim.lsp.get_clients({name = 'lacuna'})[1]
        client:request_sync('workspace/executeCommand', {command = 'lacuna.status'}, 10000)"""
    )  # answers come in order: the one that was waited for is here too
    assert neovim.drawn == []


def test_a_secret_file_stays_silent_and_says_why(start: Start) -> None:
    neovim = start(".env", "KEY=\n", scripted(fills=["1"]))
    neovim.type("A")
    told = neovim.until(
        lambda: neovim.lua("for _, s in ipairs(_G.status) do if s.inactive then return s.inactive.reason end end")
    )
    assert "secrets" in told
    assert neovim.ghost == ""


@pytest.mark.timeout(600)
def test_the_embedded_model_is_seen_and_accepted(start: Start, real_server: list[str]) -> None:
    """What a weak model says is its own affair, and often nothing; that it is shown and accepted whole is ours."""
    neovim = start("a.py", SHELF, real_server, confidenceFloor=0, deadlineMs=60_000)
    neovim.until(lambda: neovim.lua("local s = _G.status[#_G.status] return s and s.state == 'ready'"), limit_s=300)
    for line in OPENINGS:
        answered = neovim.lua("return _G.answered")
        neovim.type(f"<Esc>Go{line}")
        neovim.until(lambda before=answered: neovim.lua("return _G.answered") > before, limit_s=120)
        neovim.lua("vim.wait(300)")
        if shown := neovim.ghost:
            neovim.accept()
            neovim.until(lambda typed=line, fill=shown: neovim.text.endswith(typed + fill))
            return
    pytest.fail(f"not one of {len(OPENINGS)} lines got a suggestion")
