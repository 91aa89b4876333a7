"""An editor for tests: talks LSP to a real server process, and hears what the scripted worker hears."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from concurrent.futures import Future
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.io_ import run_async
from pygls.protocol import JsonRPCRequestMessage
from pytest_lsp.client import LanguageClient, make_test_lsp_client

from tests.support import scripted_server

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
LIMIT_S = 30
EVENTS = (
    "lacuna/status",
    "lacuna/draft",
    *(f"fake/{name}" for name in ("infill", "edit", "cancelled", "answered", "start")),
)
URI = "file:///project/a.py"
DOCUMENT_CHANGES = types.WorkspaceEditClientCapabilities(document_changes=True)


class Editor:
    def __init__(self, client: LanguageClient) -> None:
        self.client = client
        self.initialized: types.InitializeResult
        self._queues: dict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        for event in EVENTS:
            client.feature(event)(partial(self._queues[event].put_nowait))

    async def heard(self, event: str) -> Any:
        """The next notification of that name, waited for."""
        return await asyncio.wait_for(self._queues[event].get(), LIMIT_S)

    def unheard(self, event: str) -> int:
        """How many notifications of that name nobody has waited for yet."""
        return self._queues[event].qsize()

    def open(self, text: str, uri: str = URI, language_id: str = "python", version: int = 1) -> None:
        item = types.TextDocumentItem(uri=uri, language_id=language_id, version=version, text=text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def insert(self, text: str, line: int, character: int, version: int, uri: str = URI) -> None:
        at = types.Position(line, character)
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(uri=uri, version=version),
                [types.TextDocumentContentChangePartial(range=types.Range(at, at), text=text)],
            )
        )

    async def complete(
        self, line: int, character: int, uri: str = URI, kind: int = 2
    ) -> list[types.InlineCompletionItem]:
        params = types.InlineCompletionParams(
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind(kind)),
        )
        request = self.client.text_document_inline_completion_async(params)
        return list(await asyncio.wait_for(request, LIMIT_S) or [])

    def send(self, method: str, params: dict[str, Any] | None = None) -> None:
        self.client.protocol.notify(method, params or {})

    async def ask(self, method: str, params: object) -> Any:
        """A request as it is, however wrong."""
        protocol = self.client.protocol
        answer: Future[Any] = Future()
        protocol._request_futures["raw"] = answer
        protocol._send_data(JsonRPCRequestMessage(id="raw", method=method, jsonrpc="2.0", params=params))
        return await asyncio.wait_for(asyncio.wrap_future(answer), LIMIT_S)

    async def command(self, name: str, *arguments: Any) -> Any:
        params = types.ExecuteCommandParams(command=name, arguments=list(arguments))
        return await asyncio.wait_for(self.client.workspace_execute_command_async(params), LIMIT_S)


@contextlib.asynccontextmanager
async def editor(
    encodings: tuple[str, ...] = ("utf-16",),
    options: Any = None,
    name: str = "test",
    command: list[str] | None = None,
    work_done_progress: bool = False,
    workspace_edit: types.WorkspaceEditClientCapabilities | None = DOCUMENT_CHANGES,
    code_action: types.CodeActionClientCapabilities | None = None,
    **script: Any,
) -> AsyncIterator[Editor]:
    """An initialized editor; ``command`` starts another server than the scripted one, or that as a shell would."""
    client = make_test_lsp_client()
    one = Editor(client)
    server = None if command else await _fork(client, script)
    if command:
        await client.start_io(*command, cwd=str(ROOT))
    general = types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind(e) for e in encodings])
    params = types.InitializeParams(
        capabilities=types.ClientCapabilities(
            general=general,
            window=types.WindowClientCapabilities(work_done_progress=work_done_progress),
            workspace=types.WorkspaceClientCapabilities(workspace_edit=workspace_edit),
            text_document=types.TextDocumentClientCapabilities(code_action=code_action),
        ),
        client_info=types.ClientInfo(name=name),
        initialization_options=options,
    )
    one.initialized = await asyncio.wait_for(client.initialize_session(params), LIMIT_S)
    await one.heard("lacuna/status")
    try:
        yield one
    finally:
        await asyncio.wait_for(client.shutdown_session(), LIMIT_S)
        await asyncio.wait_for(client.stop(), LIMIT_S)
        if server:
            await asyncio.to_thread(server.join, LIMIT_S)
            assert server.exitcode == 0


async def _fork(client: LanguageClient, script: dict[str, Any]) -> BaseProcess:
    """A process of its own for the scripted server, which need not import anything."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([scripted_server.__name__])
    ours, theirs = socket.socketpair()
    server = processes.Process(target=scripted_server.serve, args=(script, theirs), daemon=True)
    await asyncio.to_thread(server.start)
    theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours)
    client.protocol.set_writer(writer)
    listening = run_async(client._stop_event, reader, client.protocol, logger, client.report_server_error)
    client._async_tasks.append(asyncio.create_task(listening))
    return server
