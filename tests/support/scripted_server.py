"""The real server process with the scripted worker: ``python -m tests.support.scripted_server '{"fills": ["42"]}'``.

Two things are added for tests: notifications ``fake/<event>`` tell what the worker hears, and ``fake/release`` and
``fake/state`` steer it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from inference.protocol import encode
from lsp_server.commands.serve import claim_stdout, log_to
from lsp_server.server import create_server
from tests.support.scripted_client import Request, Script, ScriptedClient


def main() -> None:
    stdout = claim_stdout()
    log_to(None, "warning")
    script = json.loads(sys.argv[1])
    script["fills"] = tuple(script.get("fills", ("42",)))

    def heard(event: str, request: Request | None) -> None:
        server.protocol.notify(f"fake/{event}", {"request": encode(request) if request else None})

    server = create_server(lambda: ScriptedClient(Script(**script), heard))

    @server.feature("fake/release")
    def release(_: Any) -> None:
        server.session.client.gate.release()

    @server.feature("fake/state")
    def state(params: Any) -> None:
        server.session.client.become(params.state, params.message)

    print("printed by mistake: this must not reach the editor")
    server.start_io(stdout=stdout)


if __name__ == "__main__":
    main()
