"""The real server process with the scripted worker: ``python -m tests.support.scripted_server '{"fills": ["42"]}'``.

Two things are added for tests: notifications ``fake/<event>`` tell what the worker hears, and ``fake/release`` and
``fake/state`` steer it.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from inference.protocol import encode
from lsp_server.commands.serve import claim_stdout, log_to
from lsp_server.server import LacunaServer, create_server
from tests.support.scripted_client import Request, Script, ScriptedClient


def scripted(script: dict[str, Any]) -> LacunaServer:
    """The server, whose worker says what the script tells it to."""
    script["fills"] = tuple(script.get("fills", ("42",)))
    script["in_turn"] = tuple(script.get("in_turn", ()))

    def heard(event: str, request: Request | None) -> None:
        server.protocol.notify(f"fake/{event}", {"request": encode(request) if request else None})

    server = create_server(lambda: ScriptedClient(Script(**script), heard))

    @server.feature("fake/release")
    def release(_: Any) -> None:
        server.session.client.gate.release()

    @server.feature("fake/state")
    def state(params: Any) -> None:
        server.session.client.become(params.state, params.message)

    return server


def serve(script: dict[str, Any], editor: socket.socket) -> None:
    """Serve on a socket, in a process that was forked with everything imported."""
    log_to(None, "warning")
    server = scripted(script)
    with editor.makefile("rb") as stdin, editor.makefile("wb") as stdout:
        server.start_io(stdin, stdout)
    sys.exit(server.exit_code)


def main() -> None:
    stdout = claim_stdout()
    log_to(None, "warning")
    server = scripted(json.loads(sys.argv[1]))
    print("printed by mistake: this must not reach the editor")
    server.start_io(stdout=stdout)
    sys.exit(server.exit_code)


if __name__ == "__main__":
    main()
