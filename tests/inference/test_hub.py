"""Models in the hub's cache and on the hub: found whole or told what is missing, downloaded once, nothing unasked."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.errors import EngineError
from inference.hub import Plan, local_models, no_room, pull, wanted
from inference.hub_cache import cache_folder, cached_snapshot, find_model, hub_id, missing_files
from tests.support.fake_hub import COMMIT, FakeHub
from tests.support.tiny_checkpoint import put_into_hub_cache, write_tiny_checkpoint

REPO = "someone/tiny"
CHUNK = 10 * 1024 * 1024
"""What huggingface_hub writes at once."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", shard_bytes=60_000)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))  # whoever runs the tests may be logged in: not here
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "hub"


@pytest.fixture
def hub(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    served = FakeHub.of(REPO, folder)
    served.files |= {"pytorch_model.bin": b"pickle", "README.md": b"#", "run.py": b"code", "model.gguf": b"gg"}
    with served.serve():
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def start(*arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "inference.hub", *arguments]
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def run(*arguments: str) -> list[Any]:
    process = start(*arguments)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    return [json.loads(line) for line in out.splitlines()]


def refused(*arguments: str) -> str:
    process = start(*arguments)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 3
    assert out == ""
    assert error.count("\n") == 1
    return error


def test_a_plan_counts_and_fetches_nothing(hub: FakeHub, folder: Path, cache: Path) -> None:
    [plan] = run("plan", REPO)
    assert (plan["repo"], plan["commit"], plan["licence"]) == (REPO, COMMIT, "apache-2.0")
    assert {file["path"] for file in plan["files"]} == {file.name for file in folder.iterdir()}
    assert plan["total_bytes"] == plan["missing_bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert plan["free_bytes"] > 0
    assert not hub.downloads
    assert not cache.exists()


def test_what_is_pulled_is_whole_found_and_told(hub: FakeHub, folder: Path, cache: Path) -> None:
    *progress, last = run("pull", REPO)
    snapshot = Path(last["folder"])
    assert snapshot == cache / "models--someone--tiny" / "snapshots" / COMMIT
    assert {file.name: file.read_bytes() for file in snapshot.iterdir()} == {
        file.name: file.read_bytes() for file in folder.iterdir()
    }
    assert [step["done"] for step in progress] == sorted(step["done"] for step in progress)
    assert progress[-1] == {"done": progress[-1]["total"], "total": progress[-1]["total"], "file": ""}
    assert find_model(Path(REPO)) == snapshot
    assert hub_id(snapshot) == REPO
    fetched = len(hub.downloads)
    assert run("pull", REPO)[-1] == last
    assert len(hub.downloads) == fetched, "what is here is not fetched again"
    assert run("plan", REPO)[0]["missing_bytes"] == 0
    from huggingface_hub import snapshot_download  # and its own library finds the same

    assert snapshot_download(REPO, cache_dir=cache, revision="main", local_files_only=True) == str(snapshot)


def test_a_killed_download_goes_on_where_it_was(hub: FakeHub, cache: Path) -> None:
    large, shard = os.urandom(3 * CHUNK), min(name for name in hub.files if name.endswith(".safetensors"))
    hub.files[shard] = large
    hub.stall_at = 2 * CHUNK + 5
    process = start("pull", REPO)
    assert hub.stalled.wait(60)
    while not any(part.stat().st_size for part in cache.glob("**/*.lacuna-partial")):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert "is only partly downloaded" in refused("show", REPO)
    [part] = cache.glob("**/*.lacuna-partial")
    have = part.stat().st_size
    assert have >= CHUNK
    assert have == run("plan", REPO)[0]["total_bytes"] - run("plan", REPO)[0]["missing_bytes"] - here(cache)
    hub.stall_at = None
    hub.downloads.clear()
    snapshot = Path(run("pull", REPO)[-1]["folder"])
    assert hub.downloads == [(shard, f"bytes={have}-")]
    assert (snapshot / shard).read_bytes() == large
    assert not list(cache.glob("**/*.lacuna-partial*"))


def here(cache: Path) -> int:
    return sum(file.stat().st_size for file in cache.glob(f"**/snapshots/{COMMIT}/*"))


def test_bytes_that_are_not_the_files_are_thrown_away(hub: FakeHub, cache: Path) -> None:
    hub.spoilt = ("config.json",)
    assert "config.json of someone/tiny arrived damaged and was removed; pull it again" in refused_pull(REPO)
    assert not list(cache.glob("**/snapshots/*/config.json"))
    hub.spoilt = ()
    run("pull", REPO)


def refused_pull(*arguments: str) -> str:
    process = start("pull", *arguments)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 3
    assert error.count("\n") == 1
    return error


def test_an_unknown_repository_is_named(hub: FakeHub) -> None:
    assert f"there is no model someone/else at {hub.url}" in refused("pull", "someone/else")


def test_an_unknown_revision_is_named(hub: FakeHub) -> None:
    assert "someone/tiny has no revision 'v9'" in refused("pull", REPO, "--revision", "v9")


def test_terms_that_are_not_accepted_are_told(hub: FakeHub) -> None:
    hub.gated = True
    assert f"has terms to accept: do so at {hub.url}/{REPO}" in refused("pull", REPO)


def test_what_is_no_hub_id_is_told(hub: FakeHub) -> None:
    assert "is no hub id; one looks like google/" in refused("pull", "a/b/c")


def test_another_architecture_is_refused_before_its_gigabytes(hub: FakeHub) -> None:
    hub.model_type = "llama"
    assert "someone/tiny is a llama model; only DiffusionGemma" in refused("pull", REPO)
    assert not hub.downloads


def test_pickles_alone_are_refused(hub: FakeHub) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    assert "holds no model*.safetensors" in refused("pull", REPO)


def test_without_a_network_it_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "the hub at http://127.0.0.1:9 cannot be reached" in refused("pull", REPO)


def test_offline_is_respected(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "the environment says HF_HUB_OFFLINE" in refused("pull", REPO)


def test_no_room_on_the_disk_is_refused_before_the_first_byte(cache: Path) -> None:
    plan = Plan(
        REPO, "main", COMMIT, "", (), total_bytes=52 * 10**9, missing_bytes=51 * 10**9, free_bytes=10**9, cache="/c"
    )
    with pytest.raises(EngineError, match=r"someone/tiny needs 51\.0 GB more and 1\.0 GB are free at /c; free some"):
        pull(plan, lambda done, file: None)
    assert "HF_HUB_CACHE" in no_room(plan)
    assert not cache.exists()


def test_a_disk_that_fills_up_is_one_sentence_and_what_came_is_kept(hub: FakeHub, cache: Path) -> None:
    hub.files["model-00001-of-00009.safetensors"] = os.urandom(3 * CHUNK)
    code = (
        "import resource, sys; from inference.hub import main; from pathlib import Path\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({2 * CHUNK}, {2 * CHUNK}))\n"
        f"sys.exit(main(['pull', '{REPO}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stderr == f"the disk of {cache} is full; free some and pull again\n"
    assert [part.stat().st_size for part in cache.glob("**/*.lacuna-partial")] == [2 * CHUNK]
    run("pull", REPO)


@pytest.mark.parametrize(
    ("path", "is_wanted"),
    [
        ("model.safetensors", True),
        ("model-00001-of-00002.safetensors", True),
        ("model.safetensors.index.json", True),
        ("tokenizer.json", True),
        ("tokenizer.model", True),
        ("chat_template.jinja", True),
        ("consolidated.safetensors", False),
        ("transformer/model.safetensors", False),
        ("pytorch_model.bin", False),
        ("modeling.py", False),
        ("../config.json", False),
        (".json", False),
    ],
)
def test_only_what_a_checkpoint_consists_of_is_wanted(path: str, is_wanted: bool) -> None:
    assert wanted(path) is is_wanted


def test_the_models_on_this_disk(folder: Path, cache: Path, tmp_path: Path) -> None:
    snapshot = put_into_hub_cache(folder, cache, "owner/na--me")
    half = put_into_hub_cache(folder, cache, "owner/half")
    shard = max(half.glob("*.safetensors"))
    shard.unlink()
    other = cache / "models--some--llama" / "snapshots" / "1"
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"model_type": "llama"}')
    found = {info.name: info for info in local_models([folder.parent])}
    assert set(found) == {"lacuna-default", "tiny", "owner/na--me", "owner/half"}
    assert found["owner/na--me"].path == str(snapshot)
    assert found["owner/half"].problem == f"{shard.name} is missing"
    assert not found["owner/half"].complete
    tiny = found["tiny"]
    assert (tiny.complete, tiny.problem, tiny.precision, tiny.format) == (True, "", "fp32", "fim")
    assert (tiny.layers, tiny.hidden_size, tiny.experts, tiny.experts_per_token) == (3, 32, 4, 2)
    assert (tiny.vocabulary, tiny.canvas_length, tiny.confidence_floor) == (340, 16, 0.0)
    embedded = found["lacuna-default"]
    assert (embedded.licence, embedded.precision) == ("apache-2.0", "bf16")
    assert embedded.summary.startswith("A very small text-diffusion model")
    assert embedded.figures[0].startswith("| gap |")
    with pytest.raises(EngineError, match=r"there is no folder .*nowhere"):
        list(local_models([tmp_path / "nowhere"]))


def test_a_half_downloaded_snapshot_is_told_with_the_way_on(folder: Path, cache: Path) -> None:
    snapshot = put_into_hub_cache(folder, cache, REPO)
    assert find_model(Path(REPO)) == snapshot
    assert missing_files(snapshot) == []
    (snapshot / "tokenizer.json").resolve().unlink()  # the link dangles
    with pytest.raises(EngineError, match=r"only partly downloaded \(tokenizer\.json is missing\); go on with: lacuna"):
        find_model(Path(REPO))


def test_the_branch_says_which_snapshot(folder: Path, cache: Path) -> None:
    older = put_into_hub_cache(folder, cache, REPO, commit="a" * 40, branch="older")
    assert cached_snapshot(REPO) == older, "the only one there is"
    newer = put_into_hub_cache(folder, cache, REPO, commit="b" * 40)
    assert cached_snapshot(REPO) == newer
    assert cached_snapshot(REPO, "older") == cached_snapshot(REPO, "a" * 40) == older
    assert cached_snapshot(REPO, "other") is None
    assert cached_snapshot("no/body") is None


@pytest.mark.parametrize("given", ["nowhere", "/a/b", "a/b/c", "../a", "~/a/b/c"])
def test_what_is_neither_a_folder_nor_a_hub_id(cache: Path, given: str) -> None:
    with pytest.raises(EngineError, match="there is no model folder"):
        find_model(Path(given))


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "/x"}, "/x"),
        ({"HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HUB_CACHE": "/x", "HF_HOME": "/h"}, "/x"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hub_has_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert theirs.stdout.strip() == folder
