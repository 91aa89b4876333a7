"""The whole server in this process, with the scripted worker: messages go in and come out as JSON, no pipe between."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

from lsp_server.server import create_server
from tests.support.scripted_client import Script, ScriptedClient

LIMIT_S = 10


class Wire:
    """``told`` holds what the server sent besides answers; ``answers`` say what the editor answers to its requests."""

    def __init__(self, **script: Any) -> None:
        self.client = ScriptedClient(Script(**script))
        self.server = create_server(lambda: self.client)
        self.server.protocol.set_writer(self)
        self.session = self.server.session
        self.told: list[dict[str, Any]] = []
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._came = asyncio.Event()

    def write(self, data: bytes) -> None:
        message = json.loads(data.partition(b"\r\n\r\n")[2])
        if "method" not in message and message.get("id") in self._waiting:
            self._waiting.pop(message["id"]).set_result(message)
            return
        self.told.append(message)
        self._came.set()
        if "id" in message and message.get("method") in self.answers:
            asyncio.get_running_loop().call_soon(self._answer, message)

    def close(self) -> None:
        pass

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            rest = {"result": self.answers[message["method"]](message["params"])}
        except ValueError as error:
            rest = {"error": {"code": -32803, "message": str(error)}}
        self.raw({"id": message["id"], **rest})

    def raw(self, message: dict[str, Any]) -> None:
        self.server.protocol.receive(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def send(self, method: str, params: Any = None) -> None:
        self.raw({"method": method, "params": params})

    async def ask(self, method: str, params: Any = None) -> dict[str, Any]:
        """The whole answer, with ``result`` or ``error``."""
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.raw({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(answer, LIMIT_S)

    async def command(self, name: str, *arguments: Any) -> dict[str, Any]:
        return await self.ask("workspace/executeCommand", {"command": name, "arguments": list(arguments)})

    async def start(self, capabilities: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        """Initialize; returns once the first status came."""
        params = {"processId": None, "rootUri": None, "capabilities": capabilities or {}, **params}
        result: dict[str, Any] = (await self.ask("initialize", params))["result"]
        self.send("initialized", {})
        await self.until(lambda: self.named("lacuna/status"))
        return result

    def open(self, text: str, uri: str = "file:///project/a.py", language: str = "python", version: int = 1) -> None:
        item = {"uri": uri, "languageId": language, "version": version, "text": text}
        self.send("textDocument/didOpen", {"textDocument": item})

    async def complete(self, line: int, character: int, uri: str = "file:///project/a.py") -> list[dict[str, Any]]:
        place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        answer = await self.ask("textDocument/inlineCompletion", {**place, "context": {"triggerKind": 1}})
        items: list[dict[str, Any]] = answer["result"]
        return items

    def named(self, method: str) -> list[Any]:
        """The parameters of all that the server sent under a name."""
        return [message["params"] for message in self.told if message.get("method") == method]

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until something the server sends makes it true."""
        async with asyncio.timeout(LIMIT_S):
            while not (found := holds()):
                self._came.clear()
                await self._came.wait()
        return found

    async def settle(self) -> None:
        """Let everything run that waits for nothing."""
        for _ in range(20):
            await asyncio.sleep(0)
