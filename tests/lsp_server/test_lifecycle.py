"""Finding, starting, replacing and stopping real worker processes."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inference.protocol import Endpoint, WorkerState, encode
from inference.worker_options import read_options
from lsp_server.endpoint_file import read_endpoint
from lsp_server.lifecycle import LifecycleError, ensure_worker, find_worker, status, stop_worker
from lsp_server.lock_file import LockFile, LockTimeout
from lsp_server.worker_process import is_our_worker, worker_command
from lsp_server.worker_spec import WorkerFiles, WorkerSpec
from tests.support.fake_engine import Script
from tests.support.worker_room import PATIENCE_S, WorkerRoom, alive, is_gone, room_in, wait_until


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerRoom]:
    yield from room_in(tmp_path, monkeypatch)


def forge(room: WorkerRoom, content: str | Endpoint, mode: int = 0o600) -> None:
    """Put an endpoint file there that no worker wrote."""
    room.runtime.mkdir(mode=0o700, exist_ok=True)
    room.endpoint_path.write_text(content if isinstance(content, str) else json.dumps(encode(content)))
    room.endpoint_path.chmod(mode)


async def test_it_is_started_once_and_attached_to_after(room: WorkerRoom) -> None:
    first = await ensure_worker(room.spec)
    assert await ensure_worker(room.spec) == first
    assert room.workers() == [first.pid]
    found = await find_worker(room.spec)
    assert found is not None
    assert found[1].pid == first.pid


async def test_nothing_runs_until_it_is_wanted(room: WorkerRoom) -> None:
    assert await find_worker(room.spec) is None
    assert not await stop_worker(room.spec)
    assert room.workers() == []


async def test_another_model_has_its_own_worker(room: WorkerRoom) -> None:
    (room.folder / "a").mkdir()
    (room.folder / "link").symlink_to(room.folder / "a")
    default = await ensure_worker(room.spec)
    other = await ensure_worker(room.with_(model=room.folder / "a"))
    same = await ensure_worker(room.with_(model=room.folder / "link"))
    assert other == same
    assert sorted(room.workers()) == sorted([default.pid, other.pid])
    assert other.model == "a"


async def test_a_model_that_is_not_there_is_one_sentence(room: WorkerRoom) -> None:
    with pytest.raises(LifecycleError, match=r"there is no model folder .*nowhere"):
        await ensure_worker(room.with_(model=room.folder / "nowhere"))


def test_windows_that_open_at_once_start_one_worker(room: WorkerRoom) -> None:
    code = """if True:
        import asyncio, sys
        from lsp_server.lifecycle import WorkerSpec, ensure_worker
        sys.stdin.readline()
        print(asyncio.run(ensure_worker(WorkerSpec(command=tuple(sys.argv[1:])))).pid)
    """
    command = [sys.executable, "-c", code, *room.spec.command]
    windows = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=room.folder)
        for _ in range(6)
    ]
    for window in windows:
        assert window.stdin is not None
        window.stdin.write("go\n")
        window.stdin.flush()
    pids = {window.communicate(timeout=PATIENCE_S)[0].strip() for window in windows}
    assert pids == {str(pid) for pid in room.workers()}
    assert len(pids) == 1
    assert room.log().count("listening at") == 1


def test_a_pipe_behind_the_starter_ends_while_the_worker_lives(room: WorkerRoom) -> None:
    code = """if True:
        import asyncio, sys
        from lsp_server.lifecycle import WorkerSpec, ensure_worker
        asyncio.run(ensure_worker(WorkerSpec(command=tuple(sys.argv[1:]))))
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *room.spec.command],
        stdin=subprocess.DEVNULL,
        capture_output=True,  # reads both pipes to their end: every holder of them must have let go
        timeout=PATIENCE_S,
        cwd=room.folder,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"done\n", b"")
    [pid] = room.workers()
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    descriptors = {path.name: str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
    assert descriptors["0"] == "/dev/null"
    assert descriptors["1"] == descriptors["2"] == str(room.logs / "worker-default.log")
    assert not [target for target in descriptors.values() if target.endswith(".lock")]


async def test_a_killed_worker_is_replaced(room: WorkerRoom) -> None:
    first = await ensure_worker(room.spec)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not alive(first.pid))
    second = await ensure_worker(room.spec)
    assert second.pid != first.pid
    assert room.workers() == [second.pid]
    assert sorted(path.suffix for path in room.runtime.iterdir()) == [".json", ".lock", ".sock"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "garbage",
        "{}",
        Endpoint(address="unix:/nowhere/s.sock", token="t", pid=1, model="m", engine="local"),
        Endpoint(address="http://127.0.0.1:1", token="t", pid=2**22, model="m", engine="local"),
    ],
)
async def test_a_stale_endpoint_is_cleaned_up(room: WorkerRoom, content: str | Endpoint) -> None:
    forge(room, content)
    endpoint = await ensure_worker(room.spec)
    assert room.workers() == [endpoint.pid]


async def test_an_endpoint_with_the_wrong_mode_or_owner_is_not_believed(room: WorkerRoom) -> None:
    lure = Endpoint(address="unix:/nowhere/s.sock", token="t", pid=1, model="m", engine="local")
    forge(room, lure, mode=0o644)
    assert (await ensure_worker(room.spec)).token != "t"
    await stop_worker(room.spec)
    if os.geteuid() == 0:
        forge(room, lure)
        os.chown(room.endpoint_path, 65534, 65534)
        assert (await ensure_worker(room.spec)).token != "t"


async def test_an_endpoint_with_a_wrong_token_leads_to_a_new_worker(room: WorkerRoom) -> None:
    first = await ensure_worker(room.spec)
    forge(room, replace(first, token="wrong"))
    second = await ensure_worker(room.spec)
    assert second.pid != first.pid
    wait_until(lambda: room.workers() == [second.pid])  # the first one sees that it is forgotten, and leaves


async def test_another_users_directory_is_refused_in_one_sentence(room: WorkerRoom) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give directories away")
    room.runtime.mkdir(mode=0o700)
    os.chown(room.runtime, 65534, 65534)
    with pytest.raises(LifecycleError, match=f"{room.runtime} belongs to another user"):
        await ensure_worker(room.spec)
    assert room.workers() == []


async def test_a_hung_worker_is_ended_and_replaced(room: WorkerRoom) -> None:
    first = await ensure_worker(room.spec)
    os.kill(first.pid, signal.SIGSTOP)
    with pytest.raises(LifecycleError, match="did not answer within"):
        await find_worker(room.spec, limit_s=0.2)
    second = await ensure_worker(room.with_(hung_limit_s=0.5))
    assert second.pid != first.pid
    is_gone(first.pid)


async def test_a_stranger_with_the_endpoints_pid_is_left_alone(room: WorkerRoom) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        other = await asyncio.create_subprocess_exec("sleep", "600")
        silent.bind(str(room.folder / "silent.sock"))
        silent.listen()
        address = f"unix:{room.folder / 'silent.sock'}"
        forge(room, Endpoint(address=address, token="t", pid=other.pid, model="m", engine="local"))
        endpoint = await ensure_worker(room.with_(hung_limit_s=0.5))
        assert room.workers() == [endpoint.pid]
        assert other.returncode is None
        other.kill()
        await other.wait()


def test_only_a_process_with_this_endpoint_is_ours(room: WorkerRoom) -> None:
    endpoint = asyncio.run(ensure_worker(room.spec))
    assert is_our_worker(endpoint.pid, room.endpoint_path)
    assert not is_our_worker(endpoint.pid, room.runtime / "other.json")
    assert not is_our_worker(os.getpid(), room.endpoint_path)
    for nobody in (0, 1, -1, 2**22 + 1):
        assert not is_our_worker(nobody, room.endpoint_path)


async def test_an_older_protocols_worker_drains(room: WorkerRoom) -> None:
    older = await ensure_worker(room.spec)
    forge(room, replace(older, protocol_version=0))
    newer = await ensure_worker(room.spec)
    assert newer.pid != older.pid
    wait_until(lambda: room.workers() == [newer.pid])


async def test_a_newer_protocols_worker_is_left_alone(room: WorkerRoom) -> None:
    newer = Endpoint(address="unix:/nowhere/s.sock", token="t", pid=1, model="m", engine="local", protocol_version=99)
    forge(room, newer)
    with pytest.raises(LifecycleError, match=r"newer Lacuna \(protocol 99\)"):
        await ensure_worker(room.spec)
    assert read_endpoint(room.endpoint_path) == newer
    assert room.workers() == []


async def test_stopping_ends_it_and_its_traces(room: WorkerRoom) -> None:
    endpoint = await ensure_worker(room.spec)
    assert await stop_worker(room.spec)
    is_gone(endpoint.pid)
    assert [path.suffix for path in room.runtime.iterdir()] == [".lock"]


async def test_a_very_long_home(room: WorkerRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = room.folder / ("very-long-" * 20)
    monkeypatch.setenv("LACUNA_RUNTIME_DIR", str(runtime))
    endpoint = await ensure_worker(room.spec)
    assert len(endpoint.address.removeprefix("unix:")) <= 100
    assert (runtime / "default.json").exists()
    assert await stop_worker(room.spec)
    wait_until(lambda: not Path(endpoint.address.removeprefix("unix:")).exists())


async def test_tcp_is_asked_for(room: WorkerRoom) -> None:
    spec = room.with_(http="127.0.0.1:0")
    endpoint = await ensure_worker(spec)
    assert endpoint.address.startswith("http://127.0.0.1:")
    assert await ensure_worker(spec) == endpoint


async def test_tcp_is_not_pretended(room: WorkerRoom) -> None:
    await ensure_worker(room.spec)
    with pytest.raises(LifecycleError, match=r"listens at unix:.* already; stop it first"):
        await ensure_worker(room.with_(http="127.0.0.1:0"))


async def test_what_is_wrong_at_the_start_is_told_with_the_last_line(room: WorkerRoom) -> None:
    with pytest.raises(
        LifecycleError, match=r"left at once with exit code 2: .*not a loopback address.*\(log: .*log\)"
    ):
        await ensure_worker(room.with_(http="0.0.0.0:0"))


async def test_an_interpreter_that_is_not_there_is_one_sentence(room: WorkerRoom) -> None:
    with pytest.raises(LifecycleError, match="there is no /nowhere/python"):
        await ensure_worker(room.with_(command=("/nowhere/python",)))


async def test_a_worker_without_its_packages_names_the_remedy(room: WorkerRoom) -> None:
    (room.folder / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\")\n")
    spec = room.with_(
        command=("/usr/bin/env", f"PYTHONPATH={room.folder}:{os.environ['PYTHONPATH']}", *room.spec.command)
    )
    with pytest.raises(LifecycleError, match=r"No module named 'uvicorn'.*pip install 'lacuna-lsp\[local\]'"):
        await ensure_worker(spec)


async def test_a_worker_that_never_listens_is_given_up(room: WorkerRoom) -> None:
    spec = room.with_(command=(sys.executable, "-c", "import time; time.sleep(600)"), start_limit_s=0.5)
    with pytest.raises(LifecycleError, match=r"did not listen within 0.5 seconds: it said nothing"):
        await ensure_worker(spec)
    wait_until(lambda: room.workers() == [])


async def test_starts_that_fail_again_and_again_are_held_back(room: WorkerRoom) -> None:
    spec = room.with_(command=(sys.executable, "-c", "raise SystemExit('out of order')"), max_starts_per_minute=2)
    for _ in range(2):
        with pytest.raises(LifecycleError, match="left at once with exit code 1: out of order"):
            await ensure_worker(spec)
    with pytest.raises(LifecycleError, match=r"started 2 times within a minute .* out of order \(log: .*\)"):
        await ensure_worker(spec)
    with pytest.raises(LifecycleError, match="left at once"):
        await ensure_worker(spec, by_hand=True)


async def test_by_hand_a_worker_without_a_model_is_replaced(room: WorkerRoom) -> None:
    room.play(Script(fail_load="no weights"))
    first = await ensure_worker(room.spec)
    while (found := await find_worker(room.spec)) and found[1].state is not WorkerState.ERROR:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert await ensure_worker(room.spec) == first
    room.play(Script())
    second = await ensure_worker(room.spec, by_hand=True)
    assert second.pid != first.pid
    is_gone(first.pid)


async def test_a_lock_that_is_never_released_is_told(room: WorkerRoom) -> None:
    room.runtime.mkdir(mode=0o700)
    path = room.runtime / "default.lock"
    async with LockFile(path, 1.0):
        with pytest.raises(LockTimeout):
            async with LockFile(path, 0.1):
                pass
        with pytest.raises(LifecycleError, match="has been locked for more than"):
            await stop_worker(room.with_(start_limit_s=-4.9))
    async with LockFile(path, 1.0) as lock:
        lock.note_starts([1.0, time.time(), time.time() + 3600])
        assert len(lock.recent_starts(60.0)) == 1


def test_no_room_on_the_disk_is_one_sentence(room: WorkerRoom) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    room.runtime.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k,mode=0700", "tmpfs", str(room.runtime)]
    if subprocess.run(mount, capture_output=True, timeout=PATIENCE_S, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        (room.runtime / "filler").write_bytes(b"x" * 4096)
        with pytest.raises(LifecycleError, match=f"no room on the disk for {room.runtime}"):
            asyncio.run(ensure_worker(room.spec))
    finally:
        subprocess.run(["umount", "-l", str(room.runtime)], timeout=PATIENCE_S, check=True)


def test_no_room_for_the_log_is_one_sentence(room: WorkerRoom) -> None:
    code = """if True:
        import asyncio, resource, sys
        from lsp_server.lifecycle import LifecycleError, WorkerSpec, ensure_worker
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            asyncio.run(ensure_worker(WorkerSpec(command=tuple(sys.argv[1:]))))
        except LifecycleError as error:
            print(error)
    """
    command = [sys.executable, "-c", code, *room.spec.command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=room.folder, check=True)
    assert done.stderr == ""
    assert "there is no room on the disk for" in done.stdout


def test_status_for_commands(room: WorkerRoom) -> None:
    assert status(room.spec) is None
    endpoint = asyncio.run(ensure_worker(room.spec))
    found = status(room.spec)
    assert found is not None
    assert found[0] == endpoint


def test_importing_it_stays_cheap() -> None:
    code = (
        "import sys, lsp_server.http_worker_client; print([m for m in ('httpx', 'torch', 'pygls') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout == "[]\n"


def test_the_default_is_this_interpreter() -> None:
    assert WorkerSpec().command[0] == sys.executable
    assert WorkerSpec().key == "default"
    assert len(WorkerSpec(model=Path("/a")).key) == 12


def test_what_is_loaded_and_how_decides_which_worker_it_is() -> None:
    one = WorkerSpec(model=Path("/a"))
    different = [
        WorkerSpec(),
        one,
        replace(one, adapter=Path("/b")),
        replace(one, adapter=Path("/c")),
        replace(one, device="cpu"),
        replace(one, precision="fp8"),
        WorkerSpec(adapter=Path("/a")),
        WorkerSpec(model=Path("owner/name")),
    ]
    assert len({spec.key for spec in different}) == len(different)
    assert replace(one, keep_alive_s=1, unload_after_s=1, log_level="debug").key == one.key
    assert replace(one, adapter=Path("/b/style")).model_name == "a+style"


def test_the_worker_is_told_what_to_load(tmp_path: Path) -> None:
    spec = WorkerSpec(
        model=Path("owner/name"), adapter=tmp_path, device="cuda:1", precision="fp8", unload_after_s=60, http="[::1]:0"
    )
    files = WorkerFiles(tmp_path / "e.json", tmp_path / "l", tmp_path / "log")
    options = read_options(worker_command(spec, files)[len(spec.command) :])
    assert options.model == Path("owner/name")
    assert (options.adapter, options.device, options.precision) == (tmp_path, "cuda:1", "fp8")
    assert (options.keep_alive_s, options.unload_after_s) == (1800, 60)
    assert options.model_name == f"name+{tmp_path.name}"


async def test_an_adapter_that_is_not_there_is_named(room: WorkerRoom) -> None:
    with pytest.raises(LifecycleError, match=r"there is no adapter folder .*/nowhere"):
        await ensure_worker(room.with_(adapter=Path("/nowhere")))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--precision", "fp2"], "invalid choice: 'fp2'"),
        (["--unload-after", "-1"], "is not a number of seconds from 0 on"),
        (["--unload-after", "soon"], "invalid seconds value: 'soon'"),
        (["--keep-alive", "nan"], "is not a number of seconds from 0 on"),
    ],
)
def test_a_worker_told_nonsense_leaves_with_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        read_options(["--endpoint", "e", "--socket", "s", *arguments])
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err
