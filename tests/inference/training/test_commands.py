"""The commands themselves, at toy size: what is trained and brought home loads as any checkpoint does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inference.checkpoint import load_checkpoint
from inference.models.dense import DenseDiffusionGemma
from inference.training import __main__ as program
from inference.training import call
from inference.training.architecture import SHAPES, Shape, load_shape, save_shape, text_config
from inference.training.home import read_home, write_home
from inference.training.shards import write_shards
from tests.support.ticking_clock import tick_in_training
from tests.support.toy_training import CODE, DOCUMENTS

ROOT = Path(__file__).parents[3]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["training", *map(str, arguments)])
    return program.main()


def test_two_calls_train_and_what_comes_home_is_a_checkpoint(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(call, "ENDING_SECONDS", 0.0)
    tick_in_training(monkeypatch, 0.5)
    data, out, home = tmp_path / "data", tmp_path / "out", tmp_path / "home"
    write_shards(DOCUMENTS * 2, DOCUMENTS[:2], run_folder, data, seed=0)
    line = ("train", "--data", data, "--run", tmp_path / "gpu", "--out", out, "--shape", "toy", "--device", "cpu")
    for expected in (1, 2):
        assert run(monkeypatch, *line, "--minutes", "0.4", "--calls", "2", "--rows", "1", "--workers", "0") == 0
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["calls"] == expected
        assert metrics["step"] > 1
        assert metrics["held_out_canvas"] > 0
    assert "tokens/s" in capsys.readouterr().out
    assert run(monkeypatch, "assemble", "--data", out, "--tokenizer", data, "--out", home, "--run", tmp_path / "r") == 0
    assert load_shape(tmp_path / "r").name == "toy"
    assert (tmp_path / "r" / "log.jsonl").read_text()
    loaded = load_checkpoint(home, lambda share, what: None)
    assert loaded.format is not None
    model = DenseDiffusionGemma.load(home)
    assert model.config.hidden_size == SHAPES["toy"].hidden
    weights, _ = read_home(out)
    assert torch.equal(model.embed_tokens.weight, weights["embed_tokens.weight"].float())
    assert run(monkeypatch, "assemble", "--data", out, "--tokenizer", data, "--out", home) == 2
    assert "is not empty" in capsys.readouterr().err


def test_weights_come_home_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.training.home.SPLIT", 1000)
    save_shape(SHAPES["toy"], tmp_path / "run")
    torch.manual_seed(0)
    average = {"a": torch.randn(70, 30), "b": torch.randn(5)}
    files = write_home(average, tmp_path / "run", tmp_path / "out", {"x": 1})
    assert len(files) == 4
    weights, index = read_home(tmp_path / "out")
    assert index["metrics"] == {"x": 1}
    assert all(torch.equal(weights[name], tensor.bfloat16()) for name, tensor in average.items())
    files[0].unlink()
    with pytest.raises(ValueError, match="is missing"):
        read_home(tmp_path / "out")
    with pytest.raises(ValueError, match=r"weights\.json"):
        read_home(tmp_path)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shapes_fit_their_window_and_the_medium_one_its_file(shape: Shape) -> None:
    assert shape.max_prompt_tokens < shape.window
    assert text_config(8192, shape)["layer_types"][-1] == "full_attention"
    with torch.device("meta"):
        from inference.training.architecture import dense_config

        parameters = sum(p.numel() for p in DenseDiffusionGemma(dense_config(8192, shape)).parameters())
    assert parameters < 38_000_000  # one byte each: under 40 MB with scales and tokenizer


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--repo", "none", "--out", "new"], "is not a folder"),
        (["--repo", "empty", "--out", "new"], "nothing to train on"),
        (["--repo", "small", "--out", "new"], "too small"),
        (["--repo", "large"], "needs --out"),
        (["--repo", "large", "--out", "small"], "never overwritten"),
        (["--repo", "large", "--out", "new", "--model", "small"], "not a checkpoint folder"),
    ],
)
def test_bad_input_to_finetune_is_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_files(tmp_path / "small", 1)
    write_files(tmp_path / "large", 8)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "finetune", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error
    assert "\n" not in error
    assert not (tmp_path / "new").exists()


def write_files(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"f{number}.py").write_text(f"# file {number}\n{CODE}")


def test_no_room_on_disk_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "free")
    monkeypatch.setattr("inference.training.finetuning.shutil.disk_usage", lambda _: usage(free=1000))
    write_files(tmp_path / "large", 8)
    assert run(monkeypatch, "finetune", "--repo", tmp_path / "large", "--out", tmp_path / "new") == 2
    assert "make room" in capsys.readouterr().err


def test_finetuning_helps_on_held_out_files(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repo, out = tmp_path / "repo", tmp_path / "tuned"
    write_files(repo, 12)
    tick_in_training(monkeypatch, 0.4)
    settings = ("--model", toy_checkpoint, "--device", "cpu", "--minutes", "0.4", "--gaps", "2")
    assert run(monkeypatch, "finetune", "--repo", repo, "--out", out, *settings) == 0
    lines = capsys.readouterr().out.splitlines()
    words = next(line for line in lines if line.startswith("held out canvas loss")).replace(",", "").split()
    before, after = (float(word) for word in words if word[0].isdigit())
    assert after < before
    assert load_checkpoint(out, lambda share, what: None).format is not None
    assert not list(tmp_path.glob("tmp*"))  # the training state is gone
    assert run(monkeypatch, "finetune", "--repo", repo, "--out", out, *settings) == 2  # never written over
    assert "never overwritten" in capsys.readouterr().err


def test_a_dataset_instead_needs_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "repo", 2)
    assert run(monkeypatch, "finetune", "--repo", tmp_path / "repo", "--dataset", tmp_path / "d.jsonl") == 0
    assert "examples of 2 files" in capsys.readouterr().out
    assert (tmp_path / "d.jsonl").exists()


def test_a_machine_that_trains_needs_no_parser_and_no_editor_library() -> None:
    absent = ("tree_sitter", "tree_sitter_python", "rich", "httpx", "pygls", "starlette", "uvicorn", "platformdirs")
    readme = Path(program.__file__).with_name("README.md").read_text()
    (line,) = (line.split()[3:] for line in readme.splitlines() if " train --data PACKED " in line)
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}));"
        "from inference.training import commands; from inference.training.arguments import parse;"
        f"print(parse({line!r}).command)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "train", done.stderr
