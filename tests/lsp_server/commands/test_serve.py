"""The server as a process: what it prints, what it logs, when it leaves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest

from tests.benchmarks.start_time import start_once

ROOT = Path(__file__).parents[3]
LIMIT_S = 60
SERVE = (sys.executable, "-m", "lsp_server", "serve", "--stdio")
SCRIPTED = (sys.executable, "-m", "tests.support.scripted_server", "{}")


def start(*command: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def send(server: subprocess.Popen[bytes], method: str, params: Any, number: int | None = None) -> None:
    message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if number is None else {"id": number})
    body = json.dumps(message).encode()
    assert server.stdin
    server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    server.stdin.flush()


def initialize(process_id: int | None = None) -> dict[str, Any]:
    return {"processId": process_id, "rootUri": None, "capabilities": {}}


def read(stdout: IO[bytes] | None) -> Any:
    assert stdout
    length = 0
    while line := stdout.readline().strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        else:
            assert line.lower().startswith(b"content-type:"), line
    return json.loads(stdout.read(length))


@pytest.mark.parametrize("command", [SERVE, SCRIPTED])
def test_stdout_carries_the_protocol_alone_and_the_server_leaves_with_stdin(command: tuple[str, ...]) -> None:
    with start(*command) as server:
        send(server, "initialize", initialize(), 1)
        answer = read(server.stdout)
        assert answer["id"] == 1
        assert answer["result"]["serverInfo"]["name"] == "lacuna"
        rest, _ = server.communicate(timeout=LIMIT_S)
        assert rest == b""
        assert server.returncode == 0


def test_shutdown_and_exit() -> None:
    with start(*SCRIPTED) as server:
        send(server, "initialize", initialize(), 1)
        read(server.stdout)
        send(server, "shutdown", None, 2)
        assert read(server.stdout) == {"jsonrpc": "2.0", "id": 2, "result": None}
        send(server, "exit", None)
        assert server.wait(LIMIT_S) == 0


def test_the_server_leaves_with_the_editor_though_stdin_stays_open() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as editor,
        start(*SCRIPTED) as server,
    ):
        send(server, "initialize", initialize(editor.pid), 1)
        read(server.stdout)
        assert server.poll() is None
        assert editor.stdin
        editor.stdin.close()
        editor.wait(LIMIT_S)
        assert server.wait(LIMIT_S) == 1


def test_an_editor_in_another_process_namespace_is_not_watched() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait(LIMIT_S)
        with start(*SCRIPTED) as server:
            send(server, "initialize", initialize(gone.pid), 1)
            read(server.stdout)
            send(server, "shutdown", None, 2)
            assert read(server.stdout)["id"] == 2


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_no_text_of_the_users_is_logged_above_debug(level: str, tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    secret = "correct horse battery staple"
    document = {"uri": "file:///a.pem", "languageId": "python", "version": 1, "text": secret}
    with start(*SERVE, "--log-file", str(log), "--log-level", level) as server:
        send(server, "initialize", initialize(), 1)
        read(server.stdout)
        send(server, "textDocument/didOpen", {"textDocument": document})
        send(server, "textDocument/didOpen", {"textDocument": document | {"version": secret}})
        send(server, "textDocument/inlineCompletion", {"position": secret}, 2)
        send(server, secret, {"text": secret}, 3)
        send(server, "workspace/executeCommand", {"command": "lacuna.fillGap", "arguments": [secret]}, 4)
        send(server, "shutdown", None, 5)
        answered = [read(server.stdout) for _ in range(4)]
        assert [message["id"] for message in answered if "id" in message] == [2, 3, 4, 5]
        _, stderr = server.communicate(timeout=LIMIT_S)
    logged = log.read_text() + stderr.decode()
    assert (secret in logged) == (level == "debug")


def test_a_start_costs_at_most_six_tenths_of_a_second() -> None:
    deadline = time.monotonic() + LIMIT_S
    while (start_cost := start_once()).cpu_s > 0.6:
        # Others compute on this machine; one start that was little disturbed proves what a start costs.
        assert time.monotonic() < deadline, f"{start_cost}, load {os.getloadavg()}"


def test_a_trace_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with start(*SERVE, "--trace", str(tmp_path / "missing/trace.jsonl")) as server:
        out, err = server.communicate(timeout=LIMIT_S)
    assert (server.returncode, out) == (3, b"")
    assert err.startswith(b"lacuna: ")
    assert b"cannot be written" in err
    assert err.count(b"\n") == 1


def test_a_log_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with start(*SERVE, "--log-file", str(tmp_path / "missing/serve.log")) as server:
        out, err = server.communicate(timeout=LIMIT_S)
    assert (server.returncode, out) == (3, b"")
    assert b"cannot be written" in err
    assert err.count(b"\n") == 1


def begin(server: subprocess.Popen[bytes]) -> None:
    """Initialize, with everything that the server does by itself under way."""
    send(server, "initialize", initialize(), 1)
    assert read(server.stdout)["id"] == 1
    send(server, "initialized", {})
    while read(server.stdout).get("method") != "lacuna/status":
        pass


def test_exit_without_shutdown_is_code_one() -> None:
    with start(*SCRIPTED) as server:
        begin(server)
        send(server, "exit", None)
        assert server.wait(LIMIT_S) == 1
        assert server.stderr
        assert b"Traceback" not in server.stderr.read()


def test_exit_before_initialize_is_code_one() -> None:
    with start(*SCRIPTED) as server:
        send(server, "exit", None)
        assert server.wait(LIMIT_S) == 1


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_in_the_middle_of_a_request(signal_: signal.Signals) -> None:
    with start(*SCRIPTED[:-1], json.dumps({"hold": True})) as server:
        begin(server)
        hold_a_request(server)
        server.send_signal(signal_)
        assert server.wait(LIMIT_S) == 0
        assert server.stderr
        assert b"Traceback" not in server.stderr.read()


def hold_a_request(server: subprocess.Popen[bytes]) -> None:
    document = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "x = \n"}
    place = {"textDocument": document, "position": {"line": 0, "character": 4}, "context": {"triggerKind": 1}}
    send(server, "textDocument/didOpen", {"textDocument": document})
    send(server, "textDocument/inlineCompletion", place, 2)
    while read(server.stdout).get("method") != "fake/infill":
        pass


def test_the_end_of_stdin_in_the_middle_of_a_request_ends_it() -> None:
    with start(*SCRIPTED[:-1], json.dumps({"hold": True})) as server:
        begin(server)
        hold_a_request(server)
        assert server.stdin
        server.stdin.close()
        assert server.wait(LIMIT_S) == 0
        assert server.stderr
        assert b"Traceback" not in server.stderr.read()


def test_nobody_at_the_end_of_stdout_is_no_traceback_and_the_end() -> None:
    with start(*SCRIPTED) as server:
        begin(server)
        assert server.stdout
        server.stdout.close()
        for number in range(2, 5):
            with contextlib.suppress(BrokenPipeError):  # it may be gone before the last
                send(server, "lacuna/unheardOf", {}, number)
        assert server.wait(LIMIT_S) == 1
        assert server.stderr
        assert b"Traceback" not in server.stderr.read()


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_an_editor_that_does_not_read_blocks_nothing_and_misses_nothing() -> None:
    with start(*SCRIPTED) as server:
        begin(server)
        many = range(2, 2002)
        for number in many:
            send(server, "workspace/executeCommand", {"command": "lacuna.status"}, number)
        change = {"textDocument": {"uri": "file:///a.py", "version": 1}, "contentChanges": [{"text": "y = "}]}
        for _ in range(2000):  # more than a pipe holds: they would not go in if the server waited
            send(server, "textDocument/didChange", change)
        answered = []
        while len(answered) < len(many):
            answered += [message["id"] for message in [read(server.stdout)] if "id" in message]
        assert answered == list(many)


def until_full(pipe: IO[bytes] | None) -> None:
    """Wait until a pipe takes no more."""
    import fcntl
    import termios

    assert pipe
    held, before, deadline = 0, -1, time.monotonic() + LIMIT_S
    while held < 50_000 or held != before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        held, before = int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder), held


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_editor_that_does_not_read_cannot_keep_it_alive() -> None:
    with start(*SCRIPTED) as server:
        begin(server)
        for number in range(2, 2002):
            send(server, "workspace/executeCommand", {"command": "lacuna.status"}, number)
        until_full(server.stdout)
        server.send_signal(signal.SIGTERM)
        assert server.wait(LIMIT_S) == 0


def test_rubbish_on_stdin_does_not_end_it() -> None:
    with start(*SCRIPTED) as server:
        begin(server)
        assert server.stdin
        server.stdin.write(b"Content-Length: 9\r\n\r\nnonsense!GET / HTTP/1.1\r\n\r\nContent-Length: 2\r\n\r\n{}")
        send(server, "shutdown", None, 7)
        answers = []
        while len(answers) < 3:
            answers += [message for message in [read(server.stdout)] if "id" in message]
        assert [answer["id"] for answer in answers] == [None, None, 7]
        assert answers[-1]["result"] is None


def test_text_behind_a_request_in_the_same_breath_is_not_what_it_is_about() -> None:
    document = {"uri": "file:///a.py", "version": 1}
    place = {"textDocument": document, "position": {"line": 0, "character": 4}, "context": {"triggerKind": 1}}
    change = {"textDocument": document | {"version": 2}, "contentChanges": [{"text": "y = "}]}
    with start(*SCRIPTED) as server:
        begin(server)
        send(server, "textDocument/didOpen", {"textDocument": document | {"languageId": "python", "text": "x = "}})
        messages = [("textDocument/inlineCompletion", place, {"id": 2}), ("textDocument/didChange", change, {})]
        raw = b""
        for method, params, number in messages:
            body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **number}).encode()
            raw += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        assert server.stdin
        server.stdin.write(raw)
        server.stdin.flush()
        heard = []
        while (message := read(server.stdout)).get("id") != 2:
            heard += [message] if message["method"] == "fake/infill" else []
        assert not message["result"], "what fits the older text must not be shown in the newer"
        assert all(one["params"]["request"]["segments"][0]["text"] == "x = " for one in heard)
        send(server, "textDocument/inlineCompletion", place, 3)
        while (message := read(server.stdout))["method"] != "fake/infill":
            pass
        assert message["params"]["request"]["segments"][0]["text"] == "y = "


def test_a_log_file_is_private_and_bounded(tmp_path: Path) -> None:
    code = f"""
import logging, pathlib
from lsp_server.commands import serve
serve.MAX_LOG_BYTES = 10_000
serve.log_to(pathlib.Path({str(tmp_path / "serve.log")!r}), "info")
for _ in range(1000):
    logging.getLogger("lsp_server").info("x" * 100)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=LIMIT_S)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["serve.log", "serve.log.1"]
    assert sum(file.stat().st_size for file in files) <= 20_000
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_what_an_exception_says_stays_out_of_the_log(tmp_path: Path) -> None:
    code = f"""
import asyncio, gc, logging, pathlib
from lsp_server.commands import serve
serve.log_to(pathlib.Path({str(tmp_path / "serve.log")!r}), "info")
try:
    raise ValueError("correct horse")
except ValueError:
    logging.getLogger("lsp_server.features").exception("no suggestions")
async def fail():
    raise ValueError("correct horse")
async def main():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del task
    gc.collect()
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=LIMIT_S)
    logged = (tmp_path / "serve.log").read_text()
    assert "no suggestions" in logged
    assert "never retrieved" in logged
    assert logged.count("ValueError") >= 2
    assert "correct horse" not in logged.replace('raise ValueError("correct horse")', "")
