"""``lacuna serve --trace``: numbers for whoever looks into latency, and nothing of what was typed."""

import io
import json

from lsp_server.trace import Trace
from tests.support.scripted_client import Script, ScriptedClient


def test_an_answer_is_a_line_of_numbers() -> None:
    file = io.StringIO()
    result = ScriptedClient(Script(fills=("secret",))).result()
    trace = Trace(file)
    trace.answered(7, 12.34567, result, 1)
    trace.answered(8, 0.5, None, 0, "cache")
    first, second = (json.loads(line) for line in file.getvalue().splitlines())
    assert (first["version"], first["ms"], first["items"]) == (7, 12.346, 1)
    assert first["source"] == "model"
    assert first["usage"]["prompt_tokens"] == 10
    assert first["worker_ms"]["total"] == 3
    assert "secret" not in file.getvalue()
    assert second == {"version": 8, "ms": 0.5, "items": 0, "source": "cache"}


def test_without_a_file_nothing_is_written() -> None:
    Trace().answered(1, 1.0, None, 0)
