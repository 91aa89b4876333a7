"""The language server: what pygls needs to know, and nothing that could be done below."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, BinaryIO

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder
from pygls.lsp.server import LanguageServer

from lsp_server.features import (
    code_action,
    completion,
    configuration,
    edit_commands,
    inline_completion,
    next_edit,
    notebooks,
    status,
    workspace,
)
from lsp_server.features.edits import Edits
from lsp_server.framing import Framing, FramingError
from lsp_server.language_protocol import LacunaProtocol
from lsp_server.positions import Encoding
from lsp_server.session import Session
from lsp_server.stdio import Output, chunks
from lsp_server.trace import Trace
from lsp_server.worker_client import WorkerClient

PARENT_CHECK_S = 2.0
CLOSE_LIMIT_S = 2.0

logger = logging.getLogger(__name__)


class LacunaServer(LanguageServer):
    """One window's server; everything it knows is in ``session``. ``exit_code`` holds once it has ended."""

    protocol: LacunaProtocol

    def __init__(self, session: Session) -> None:
        self.session = session
        self.exit_code = 0
        self._end: asyncio.Future[int] | None = None
        super().__init__("lacuna", _version(), notebook_document_sync=notebooks.SYNC, protocol_cls=LacunaProtocol)

    def start_io(self, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> None:
        """Serve until the editor, a signal or the end of the input says so."""
        self.exit_code = asyncio.run(self._serve(stdin or sys.stdin.buffer, stdout or sys.stdout.buffer))

    def end(self, exit_code: int) -> None:
        """Stop serving; the first to say so decides the exit code."""
        if self._end and not self._end.done():
            self._end.set_result(exit_code)

    async def _serve(self, stdin: BinaryIO, stdout: BinaryIO) -> int:
        loop = asyncio.get_running_loop()
        self._end = loop.create_future()
        output = Output(stdout, lost=partial(self.end, 1), stdin=stdin.fileno())
        self.protocol.set_writer(output)
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            with contextlib.suppress(AttributeError, NotImplementedError):  # Windows has neither all nor handlers
                loop.add_signal_handler(getattr(signal, name), self.end, 0)
        listening = loop.create_task(self._listen(stdin))
        try:
            return await self._end
        finally:
            listening.cancel()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.session.close(), CLOSE_LIMIT_S)
            await output.finish(CLOSE_LIMIT_S)

    async def _listen(self, stdin: BinaryIO) -> None:
        framing = Framing()
        async for chunk in chunks(stdin.fileno()):
            for body in framing.feed(chunk):
                if isinstance(body, FramingError):
                    logger.warning("skipped %s", body)
                    continue
                self.protocol.receive(body)
                for _ in range(2):  # a request's handler and its task begin on the text that it was sent for
                    await asyncio.sleep(0)
        self.end(0)

    def log_to_the_editor(self, message: str, verbose: str) -> None:
        """Send ``$/logTrace``, as far as ``$/setTrace`` wants it."""
        level = self.protocol.trace
        if level != types.TraceValue.Off:
            details = verbose if level == types.TraceValue.Verbose else None
            self.log_trace(types.LogTraceParams(message=f"Lacuna: {message}", verbose=details))

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log what went wrong outside of a request; messages on the user's screen would help nobody."""
        if getattr(error, "code", None) == types.LSPErrorCodes.RequestFailed:
            return  # a refusal with its reason: the editor has it
        logger.error("%s: %s", getattr(source, "__name__", source), type(error).__name__)


def create_server(client_factory: Callable[[], WorkerClient], trace: Trace | None = None) -> LacunaServer:
    """A server that has not started yet; ``client_factory`` is called after ``initialize``."""
    server = LacunaServer(Session(client_factory, trace))
    reporter = status.register(server, server.session)
    _register_lifecycle(
        server,
        reporter,
        configuration.register(server, server.session, reporter),
        workspace.register(server, server.session, reporter),
    )
    notebooks.register(server, server.session, reporter)
    suggester = inline_completion.register(server, server.session, reporter)
    completion.register(server, server.session, suggester)
    edits = Edits(server, server.session, reporter)
    edit_commands.register(server, server.session, edits)
    code_action.register(server, server.session, edits)
    next_edit.register(server, server.session)
    return server


def _register_lifecycle(
    server: LacunaServer, reporter: status.Status, settings: configuration.Configuration, folders: workspace.Workspace
) -> None:
    session = server.session

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        encoding = ServerCapabilitiesBuilder.choose_position_encoding(params.capabilities)
        session.encoding = Encoding(getattr(encoding, "value", encoding))
        session.editor = params.client_info.name if params.client_info else ""
        settings.initialize(params.initialization_options)
        folders.initialize(params)
        server.protocol.trace = params.trace or types.TraceValue.Off
        session.trace.listener = server.log_to_the_editor
        if params.process_id is not None and os.name == "posix" and _is_alive(params.process_id):
            _leave_with(server, params.process_id)

    @server.feature(types.INITIALIZED)
    async def initialized(_: types.InitializedParams) -> None:
        await reporter.follow()
        await settings.follow()
        await folders.follow()

    @server.feature(types.SHUTDOWN)
    async def shutdown(_: None = None) -> None:
        await session.close()


def _leave_with(server: LacunaServer, process_id: int) -> None:
    """End this process when the editor is gone, even if somebody else still holds our stdin open."""
    if not _is_alive(process_id):
        logger.warning("the editor (pid %d) is gone", process_id)
        server.end(1)
        return
    asyncio.get_running_loop().call_later(PARENT_CHECK_S, _leave_with, server, process_id)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _version() -> str:
    try:
        return version("lacuna-lsp")
    except PackageNotFoundError:
        return "0"
