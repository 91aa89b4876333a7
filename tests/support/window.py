"""``python -m tests.support.window``: one window's real server, whose worker is a process around the fake engine."""

from lsp_server.commands.serve import claim_stdout, log_to
from lsp_server.http_worker_client import HttpWorkerClient
from lsp_server.server import create_server
from lsp_server.worker_spec import WorkerSpec
from tests.support.worker_room import FAKE_WORKER


def main() -> None:
    stdout = claim_stdout()
    log_to(None, "warning")
    create_server(lambda: HttpWorkerClient(WorkerSpec(command=FAKE_WORKER))).start_io(stdout=stdout)


if __name__ == "__main__":
    main()
