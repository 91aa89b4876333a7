"""A headless Neovim with the language server attached, driven like a person drives it: by keys."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pynvim

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
NVIM = shutil.which("nvim", path=str(Path(sys.executable).parent)) or shutil.which("nvim")
GHOST = "nvim.lsp.inline_completion"

_INIT = """
vim.opt.swapfile = false
vim.lsp.log.set_level('warn')
_G.status = {}
_G.drawn = {}
_G.answered = 0
vim.api.nvim_create_autocmd('LspRequest', {
  callback = function(args)
    local request = args.data.request
    if request.method == 'textDocument/inlineCompletion' and request.type == 'complete' then
      _G.answered = _G.answered + 1
    end
  end,
})
local set_extmark = vim.api.nvim_buf_set_extmark
vim.api.nvim_buf_set_extmark = function(buffer, namespace, row, column, details)
  if namespace == vim.api.nvim_create_namespace('nvim.lsp.inline_completion') then
    table.insert(_G.drawn, details.virt_text[1][1])
  end
  return set_extmark(buffer, namespace, row, column, details)
end
vim.lsp.handlers['lacuna/status'] = function(_, params) table.insert(_G.status, params) end
vim.api.nvim_create_autocmd('FileType', {
  pattern = '*',
  callback = function(args)
    vim.lsp.start({ name = 'lacuna', cmd = COMMAND, root_dir = ROOT, init_options = OPTIONS }, { bufnr = args.buf })
  end,
})
vim.lsp.inline_completion.enable()
vim.cmd('filetype plugin on')
"""

T = TypeVar("T")


class Neovim:
    """One Neovim with one file open."""

    def __init__(self, folder: Path, command: list[str], file: Path, options: dict[str, Any] | None = None) -> None:
        """``command`` is the server's; ``LACUNA_*`` and the rest of this process's environment reach it."""
        init = folder / "init.lua"
        settings = {"COMMAND": command, "ROOT": str(file.parent), "OPTIONS": options or {"debounceMs": 0}}
        tables = "".join(
            f"local {name} = vim.json.decode({json.dumps(json.dumps(value))})\n" for name, value in settings.items()
        )
        init.write_text(tables + _INIT)
        homes = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("STATE", "DATA", "CONFIG", "CACHE")}
        environment = {**os.environ, **homes, "PYTHONPATH": str(ROOT)}
        child = [
            "env",
            *(f"{name}={value}" for name, value in environment.items() if name in homes or name == "PYTHONPATH"),
        ]
        assert NVIM
        self.vim = pynvim.attach(
            "child", argv=[*child, NVIM, "--embed", "--headless", "-u", str(init), "-i", "NONE", str(file)]
        )

    def close(self) -> None:
        self.vim.command("lua vim.lsp.stop_client(vim.lsp.get_clients())")
        self.vim.close()

    def lua(self, code: str) -> Any:
        return self.vim.exec_lua(code)

    @property
    def text(self) -> str:
        return "\n".join(self.vim.current.buffer[:])

    @property
    def ghost(self) -> str:
        """The text shown at the cursor; empty if none is."""
        found = self.lua(
            f"""local namespace = vim.api.nvim_create_namespace('{GHOST}')
            return vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, {{details = true}})"""
        )
        if not found:
            return ""
        details = found[0][3]
        rows = [details.get("virt_text", []), *details.get("virt_lines", [])]
        return "\n".join("".join(chunk[0] for chunk in row) for row in rows)

    @property
    def drawn(self) -> list[str]:
        """The first line of every ghost text so far, also of those that flickered past."""
        return list(self.lua("return _G.drawn"))

    def type(self, keys: str) -> None:
        self.vim.input(keys)

    def attached(self) -> None:
        """Wait until the server is ready to be asked, and Neovim to ask it: nothing repeats a key typed before that."""
        self.until(
            lambda: self.lua(
                """local c = vim.lsp.get_clients({name = 'lacuna', bufnr = 0})[1]
                return c ~= nil and c.initialized and #_G.status > 0"""
            )
        )

    def accept(self) -> None:
        assert self.lua("return vim.lsp.inline_completion.get()")

    def until(self, see: Callable[[], T], limit_s: float = LIMIT_S) -> T:
        """What ``see`` returns once it is true; Neovim tells nobody when it draws."""
        deadline = time.monotonic() + limit_s
        while not (seen := see()):
            assert time.monotonic() < deadline, (
                f"never seen; buffer: {self.text!r}, messages: {self.vim.command_output('messages')}"
            )
            time.sleep(0.02)
        return seen
