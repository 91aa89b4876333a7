"""The weights of a folder: one name each, read when asked for, the same from one file and from shards."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.errors import EngineError
from inference.weight_files import read_header, stored_tensors
from inference.weights import DECODER, ENCODER, FollowedWeights, Weights
from tests.support.tiny_checkpoint import write_tiny_checkpoint

Q = "layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("sharded"), shard_bytes=40_000)


def test_every_text_weight_once_and_no_vision_tower(whole: Path) -> None:
    tensors = load_file(whole / "model.safetensors")
    weights = Weights(whole)
    text = {name for name in tensors if "vision" not in name}
    assert set(weights) == text
    assert len(weights) == len(text) < len(tensors)
    assert all(torch.equal(weights[name], tensors[name]) for name in weights)
    assert weights.total_bytes == sum(tensors[name].nbytes for name in text)
    assert set(Weights(whole, vision=True)) == set(tensors)


def test_shards_hold_the_same(whole: Path, sharded: Path) -> None:
    assert len(list(sharded.glob("*.safetensors"))) > 2
    one, many = Weights(whole), Weights(sharded)
    assert set(one) == set(many)
    assert all(torch.equal(one[name], many[name]) for name in one)
    assert one.total_bytes == many.total_bytes


@pytest.mark.parametrize("names", [(DECODER,), (ENCODER,), (DECODER, ENCODER)])
def test_a_shared_weight_has_one_name_however_it_is_stored(tmp_path: Path, names: tuple[str, ...]) -> None:
    tensors = {
        f"{DECODER}layers.0.layer_scalar": torch.ones(1),
        f"{ENCODER}layers.0.layer_scalar": torch.zeros(1),
        "lm_head.weight": torch.full((3, 2), 5.0),
    }
    for name in names:
        tensors[name + Q] = torch.eye(2)
    save_file(tensors, tmp_path / "model.safetensors")
    weights = Weights(tmp_path)
    assert set(weights) == {
        f"{DECODER}{Q}",
        f"{DECODER}layers.0.layer_scalar",
        f"{ENCODER}layers.0.layer_scalar",
        f"{DECODER}embed_tokens.weight",
    }
    assert torch.equal(weights[f"{DECODER}{Q}"], torch.eye(2))
    assert weights[f"{ENCODER}layers.0.layer_scalar"] == 0
    assert f"{ENCODER}{Q}" not in weights
    with pytest.raises(KeyError):
        weights[f"{ENCODER}{Q}"]


def test_sizes_are_known_before_reading(whole: Path) -> None:
    weights = Weights(whole)
    for name in weights:
        assert weights.stored(name).shape == tuple(weights[name].shape)
        assert weights.stored(name).size_bytes == weights[name].nbytes


def test_reading_is_followed_by_bytes(whole: Path) -> None:
    weights, told = Weights(whole), list[tuple[int, int]]()
    followed = FollowedWeights(weights, weights, lambda done, total: told.append((done, total)))
    for name in [*followed, *followed]:
        assert torch.equal(followed[name], weights[name])
    assert len(told) == len(weights)
    assert told[0] == (0, weights.total_bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] < weights.total_bytes


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    save_file({"a": torch.arange(4.0), "b": torch.arange(2.0)}, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    assert read_header(tmp_path / "whole")["a"].shape == (4,)
    cut = tmp_path / "model.safetensors"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(EngineError, match=r"is damaged or cut short \(.+\); download"):
            stored_tensors(tmp_path)
    cut.write_bytes(content + b"\0")
    with pytest.raises(EngineError, match="is damaged or cut short"):
        stored_tensors(tmp_path)


def entry(start: int, end: int, shape: tuple[int, ...] = (1,), dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "header",
    [
        "[]",
        "{not json",
        '"text"',
        json.dumps({"a": entry(4, 8)}),
        json.dumps({"a": entry(0, 4), "b": entry(0, 4)}),
        json.dumps({"a": entry(0, 4, (2,))}),
        json.dumps({"a": entry(0, 4, (-1, -1))}),
        json.dumps({"a": entry(0, 4, dtype="F31")}),
        json.dumps({"a": {"dtype": "F32"}}),
        json.dumps({"a": entry(0, 10**12, (25 * 10**10,))}),
        json.dumps({"a": 7}),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: str) -> None:
    content = len(header).to_bytes(8, "little") + header.encode() + bytes(4)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(EngineError, match=r"model\.safetensors is damaged or cut short"):
        stored_tensors(tmp_path)


def test_an_index_that_names_what_a_shard_lacks_is_refused(sharded: Path, tmp_path: Path) -> None:
    for file in sharded.glob("*.safetensors*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.decoder.more"] = min(index["weight_map"].values())
    path.write_text(json.dumps(index))
    with pytest.raises(EngineError, match=r"says that model\.decoder\.more is in .*, which lacks it"):
        Weights(tmp_path)


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/elsewhere.safetensors", "a/b.safetensors", ".."])
def test_an_index_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(EngineError, match="points outside its folder"):
        stored_tensors(tmp_path)
