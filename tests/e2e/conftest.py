"""The real server, with a worker of its own that ends with the test."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The command of the real ``lacuna serve``; its worker loads the embedded model."""
    monkeypatch.setenv("LACUNA_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("LACUNA_LOG_DIR", str(tmp_path / "log"))
    lacuna = [sys.executable, "-m", "lsp_server"]
    yield [*lacuna, "serve", "--stdio", "--log-file", str(tmp_path / "serve.log")]
    subprocess.run([*lacuna, "worker", "stop"], timeout=60, check=False, capture_output=True)
