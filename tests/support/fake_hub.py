"""A Hugging Face hub on loopback with one model repository, for HF_ENDPOINT: as much as downloading needs."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "1234567890abcdef" * 2 + "12345678"


@dataclass
class FakeHub:
    """``files`` by name. ``stall_at`` bytes of a file larger than that the server goes silent until released;
    ``spoilt`` files arrive with other bytes; ``gated`` answers as for terms that are not accepted."""

    repo: str
    files: dict[str, bytes]
    model_type: str = "diffusion_gemma"
    stall_at: int | None = None
    spoilt: tuple[str, ...] = ()
    gated: bool = False
    downloads: list[tuple[str, str]] = field(default_factory=list)
    """Every GET of a file, with its Range header."""
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @classmethod
    def of(cls, repo: str, folder: Path) -> "FakeHub":
        return cls(repo, {file.name: file.read_bytes() for file in folder.iterdir()})

    @contextmanager
    def serve(self) -> Iterator["FakeHub"]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._file(with_body=False)

            def do_GET(self) -> None:
                if self.path.startswith("/api/models/"):
                    self._model()
                else:
                    self._file(with_body=True)

            def log_message(self, *_: object) -> None:
                pass

            def _model(self) -> None:
                match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^?]+)\?.*", self.path)
                if not match or match[1] != hub.repo:
                    return self._refuse(404, "RepoNotFound")
                if hub.gated:
                    return self._refuse(403, "GatedRepo")
                if match[2] not in ("main", COMMIT):
                    return self._refuse(404, "RevisionNotFound")
                siblings = [{"rfilename": name, "size": len(content)} for name, content in hub.files.items()]
                card = {"license": "apache-2.0"}
                answer = {"id": hub.repo, "sha": COMMIT, "siblings": siblings, "cardData": card, "tags": []}
                body = json.dumps(answer | {"config": {"model_type": hub.model_type}}).encode()
                return self._answer(200, body, {"Content-Type": "application/json"})

            def _file(self, with_body: bool) -> None:
                match = re.fullmatch(rf"/{hub.repo}/resolve/(?:main|{COMMIT})/([^/?]+)", self.path)
                if not match or match[1] not in hub.files:
                    return self._refuse(404, "EntryNotFound")
                content = hub.files[match[1]]
                headers = {
                    "X-Repo-Commit": COMMIT,
                    "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                    "Accept-Ranges": "bytes",
                }
                if not with_body:
                    return self._answer(200, content, headers, with_body=False)
                asked = self.headers.get("Range", "")
                hub.downloads.append((match[1], asked))
                if match[1] in hub.spoilt:
                    content = bytes(len(content))
                start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
                if asked:
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                return self._answer(206 if asked else 200, content[start:], headers)

            def _refuse(self, status: int, code: str) -> None:
                self._answer(status, b"{}", {"X-Error-Code": code, "Content-Type": "application/json"})

            def _answer(self, status: int, body: bytes, headers: dict[str, str], with_body: bool = True) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body and hub.stall_at is not None and len(body) > hub.stall_at:
                    self.wfile.write(body[: hub.stall_at])
                    self.wfile.flush()
                    hub.stalled.set()
                    hub.released.wait(60)
                    self.close_connection = True
                elif with_body:
                    self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()
