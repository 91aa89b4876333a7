"""The worker process itself, started by hand: its socket, its file, its reasons to leave, and closing connections."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from inference.log_file import shorten_log
from tests.support.fake_engine import Script
from tests.support.worker_process import Process
from tests.support.worker_room import PATIENCE_S, ROOT, WorkerRoom, alive, room_in, wait_until

GAP = {"prefix": "secret buffer words", "suffix": ""}
ENDLESS = Script(steps=1_000_000, step_s=0.01)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


async def test_the_endpoint_file_and_socket_are_its_owners_only(room: WorkerRoom) -> None:
    process = Process(room)
    endpoint = process.endpoint
    assert stat.S_IMODE(process.endpoint_path.stat().st_mode) == 0o600
    assert stat.S_IMODE((room.folder / "s.sock").stat().st_mode) & 0o077 == 0
    assert endpoint.pid == process.popen.pid
    assert len(endpoint.token) >= 32
    assert [path.name for path in room.folder.glob(".e.json*")] == []


async def test_it_listens_before_the_model_is_loaded(room: WorkerRoom) -> None:
    room.play(Script(load_s=60.0))
    process = Process(room)
    async with process.client() as client:
        health = (await client.get("/health")).json()
    assert health["state"] in ("starting", "loading")
    assert health["pid"] == process.popen.pid
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_closing_the_connection_cancels_within_one_step(room: WorkerRoom, stream: bool) -> None:
    room.play(Script(steps=1000, step_s=0.1))
    process = Process(room)
    async with process.ready() as client:
        asking = asyncio.create_task(client.post("/v1/infill", json=GAP | {"stream": stream}))
        await _steps_beyond(room, 0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        at_close = room.steps_run()
        room.play(Script(text="next", steps=1))
        answer = await client.post("/v1/infill", json=GAP)  # the thread is free again, or this would never be answered
    assert answer.json()["choices"][0]["fills"][0]["text"] == "next"
    # One step was under way, one may have begun while the closing was on its way, one is the next request's.
    assert room.steps_run() <= at_close + 3


async def test_closing_before_its_turn_cancels_too(room: WorkerRoom) -> None:
    room.play(ENDLESS)
    process = Process(room)
    async with process.ready() as client, process.ready() as other:
        running = asyncio.create_task(client.post("/v1/infill", json=GAP | {"document": "d"}))
        await _steps_beyond(room, 0)
        waiting = asyncio.create_task(other.post("/v1/infill", json=GAP))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.2)
        room.play(Script(text="next", steps=1))
        answer = await other.post("/v1/infill", json=GAP | {"document": "d"})
        assert (await running).status_code == 409
    assert answer.status_code == 200


async def test_a_client_killed_mid_request_cancels(room: WorkerRoom) -> None:
    room.play(ENDLESS)
    process = Process(room)
    code = (
        "import httpx, sys; httpx.Client(transport=httpx.HTTPTransport(uds=sys.argv[1])).post("
        "'http://x/v1/infill', json={'prefix': ''}, headers={'authorization': sys.argv[2]}, timeout=60)"
    )
    async with process.ready() as client:
        endpoint = process.endpoint
        arguments = [endpoint.address.removeprefix("unix:"), f"Bearer {endpoint.token}"]
        victim = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", code, *arguments])
        await _steps_beyond(room, 0)
        room.play(Script(steps=1))
        victim.kill()
        victim.wait()
        assert (await client.post("/v1/infill", json=GAP)).status_code == 200


async def test_no_buffer_text_in_the_log(room: WorkerRoom) -> None:
    process = Process(room)
    async with process.ready() as client:
        assert (await client.post("/v1/infill", json=GAP)).status_code == 200
        room.play(Script(fail="crash"))
        assert (await client.post("/v1/infill", json=GAP)).status_code == 500
        await client.post("/v1/infill", content=b'{"secret buffer words"')
        await client.post("/v1/infill", json={"prefix": "", "secret buffer words": 1})
    assert "RuntimeError" in process.log()
    assert "secret buffer words" not in process.log()


async def test_it_leaves_when_its_endpoint_file_is_gone(room: WorkerRoom) -> None:
    process = Process(room)
    assert process.endpoint
    process.endpoint_path.unlink()
    assert process.ended() == 0
    assert not (room.folder / "s.sock").exists()
    assert "gone" in process.log()


async def test_a_broken_model_is_told_and_the_worker_leaves(room: WorkerRoom) -> None:
    room.play(Script(fail="broken"))
    code = (
        "import os, sys, inference.worker; from pathlib import Path; from inference.__main__ import main;"
        "from tests.support.fake_engine import FolderEngine; inference.worker.ERROR_LINGER_S = 1.0;"
        "sys.exit(main(lambda options: FolderEngine(Path(os.environ['LACUNA_FAKE_ENGINE']))))"
    )
    process = Process(room, command=(sys.executable, "-P", "-c", code))
    async with process.ready() as client:
        broken = await client.post("/v1/infill", json=GAP)
        assert (broken.status_code, broken.json()["error"]["code"]) == (500, "internal")
        steps = room.steps_run()
        later = await client.post("/v1/infill", json=GAP)
        assert (later.status_code, later.json()["error"]["code"]) == (503, "not_ready")
        health = (await client.get("/health")).json()
        assert health["state"] == "error"
        for told in (broken.json()["error"]["message"], later.json()["error"]["message"], health["message"]):
            assert "not numbers" in told
        assert room.steps_run() == steps
    assert process.ended() == 0
    assert not process.endpoint_path.exists()
    assert "out of use" in process.log()


async def test_it_leaves_another_workers_endpoint_file_alone(room: WorkerRoom) -> None:
    process = Process(room)
    assert process.endpoint
    process.endpoint_path.write_text("another worker's")
    assert process.ended() == 0
    assert process.endpoint_path.read_text() == "another worker's"


async def test_it_leaves_when_nobody_uses_it(room: WorkerRoom) -> None:
    process = Process(room, "--keep-alive", "0.5")
    async with process.ready() as client:
        while process.popen.poll() is None:  # asking after its health is not using it
            try:
                await client.get("/health")
            except httpx.HTTPError:
                break
            await asyncio.sleep(0.05)
    assert process.ended() == 0
    assert not process.endpoint_path.exists()
    assert "nobody has used it" in process.log()


async def test_it_sleeps_when_idle_and_wakes_for_a_request(room: WorkerRoom) -> None:
    process = Process(room, "--unload-after", "0.2")
    async with process.ready() as client:
        health = (await client.get("/health")).json()
        while "sleeps" not in health.get("message", ""):
            await asyncio.sleep(0.02)
            health = (await client.get("/health")).json()
        assert health["state"] == "ready"
        assert (await client.post("/v1/infill", json=GAP)).status_code == 200
    assert "sleeps after 0.2 seconds" in process.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_it_finish_and_clean_up(room: WorkerRoom, number: signal.Signals) -> None:
    room.play(Script(steps=30, step_s=0.02))
    process = Process(room)
    async with process.ready() as client:
        asking = asyncio.create_task(client.post("/v1/infill", json=GAP))
        await _steps_beyond(room, 0)
        process.popen.send_signal(number)
        assert (await asking).status_code == 200
    assert process.ended() == 0
    assert not process.endpoint_path.exists()
    assert not (room.folder / "s.sock").exists()


async def test_leaving_cancels_what_does_not_end(room: WorkerRoom) -> None:
    room.play(ENDLESS)
    process = Process(room)
    async with process.ready() as client:
        asking = asyncio.create_task(client.post("/v1/infill", json=GAP))
        await _steps_beyond(room, 0)
        process.popen.send_signal(signal.SIGTERM)
        await asyncio.gather(asking, return_exceptions=True)
    assert process.ended() == 0


async def test_standard_output_belongs_to_nobody(room: WorkerRoom) -> None:
    code = """if True:
        import os, sys
        from inference.__main__ import main
        from tests.support.fake_engine import FakeEngine
        class Loud(FakeEngine):
            def load(self, report):
                os.write(1, b"loud")
                print("louder", flush=True)
                super().load(report)
        sys.exit(main(lambda options: Loud()))
    """
    process = Process(room, command=(sys.executable, "-P", "-c", code))
    async with process.ready():
        pass
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert process.popen.stdout is not None
    assert process.popen.stdout.read() == b""
    assert "loud" in process.log()
    assert "louder" in process.log()


async def test_tcp_on_loopback(room: WorkerRoom) -> None:
    process = Process(room, "--http", "127.0.0.1:0")
    async with process.ready() as client:
        assert process.endpoint.address.startswith("http://127.0.0.1:")
        assert (await client.post("/v1/infill", json=GAP)).status_code == 200
        assert (await client.get("/health", headers={"host": "evil.example"})).status_code == 401
        assert (await client.get("/health", headers={"origin": "http://evil.example"})).status_code == 401


@pytest.mark.parametrize("address", ["0.0.0.0:8000", "192.168.0.1:8000", "example.org:80", "127.0.0.1", "127.0.0.1:x"])
def test_tcp_beyond_loopback_is_refused(room: WorkerRoom, address: str) -> None:
    process = Process(room, "--http", address)
    assert process.ended() == 2
    assert "is not a loopback address" in process.log()


def test_a_port_in_use_is_one_sentence(room: WorkerRoom) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = Process(room, "--http", f"127.0.0.1:{taken.getsockname()[1]}")
        assert process.ended() == 3
    assert "is in use by another program" in process.log().splitlines()[-1]
    assert "Traceback" not in process.log()


def test_no_room_for_the_endpoint_is_one_sentence(room: WorkerRoom) -> None:
    code = """if True:
        import resource, sys
        from inference.__main__ import main
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        sys.exit(main(lambda options: None))
    """
    place = ["--endpoint", str(room.folder / "e.json"), "--socket", str(room.folder / "s.sock")]
    command = [sys.executable, "-P", "-c", code, *place]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert f"there is no room on the disk for {room.folder / 'e.json'}" in done.stderr
    assert list(room.folder.iterdir()) == []


@pytest.mark.parametrize("missing", ["torch", "starlette"])
async def test_what_is_not_installed_is_named_with_the_remedy(room: WorkerRoom, missing: str) -> None:
    stubs = room.folder / "stubs"
    stubs.mkdir()
    (stubs / f"{missing}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{missing}'\")\n")
    code = f"import sys, runpy; sys.path.insert(0, {str(stubs)!r}); runpy.run_module('inference', run_name='__main__')"
    process = Process(room, "--model", str(room.folder), command=(sys.executable, "-P", "-c", code))
    if missing == "torch":
        async with process.ready() as client:
            told = (await client.get("/health")).json()["message"]
    else:
        assert process.ended() == 3
        told = process.log()
    assert f"No module named '{missing}'" in told
    assert "pip install 'lacuna-lsp[local]'" in told
    assert "Traceback" not in process.log()


def test_its_parts_import_neither_torch_nor_the_server() -> None:
    code = (
        "import sys, inference.worker; print([m for m in ('torch', 'transformers', 'lsp_server') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_outgrown_log_keeps_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    descriptor = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    lines = [f"line {number}\n" for number in range(1000)]
    os.write(descriptor, "".join(lines).encode())
    shorten_log(descriptor, max_bytes=100_000, kept_bytes=100)
    assert log.read_text() == "".join(lines)
    shorten_log(descriptor, max_bytes=1000, kept_bytes=100)
    os.write(descriptor, b"next\n")
    os.close(descriptor)
    kept = log.read_text().splitlines()
    assert kept[0] == "[older lines were dropped]"
    assert kept[-2:] == ["line 999", "next"]
    assert log.stat().st_size < 200


def test_a_log_that_somebody_redirected_is_not_cut(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as file:
        file.write(b"x" * 1000)
        file.flush()
        shorten_log(file.fileno(), max_bytes=10, kept_bytes=1)
    assert log.stat().st_size == 1000


async def _steps_beyond(room: WorkerRoom, steps: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while room.steps_run() <= steps:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_the_room_is_empty_in_the_end(room: WorkerRoom) -> None:
    process = Process(room)
    assert process.endpoint
    room.close()
    wait_until(lambda: not alive(process.popen.pid))
