from pathlib import Path

import pytest
from tokenizers import Tokenizer

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.architecture import SHAPES, dense_config
from inference.training.denoise import Sampling
from inference.training.drawing import TokenSampler
from inference.training.export import write_checkpoint
from inference.training.shards import tokenize
from inference.training.tokenizer import infill_spec, save_tokenizer, train_tokenizer
from inference.training.train import initialize
from tests.support.toy_training import CODE, DOCUMENTS


@pytest.fixture(scope="session")
def toy_tokenizer() -> Tokenizer:
    return train_tokenizer([CODE], vocabulary=400)


@pytest.fixture(scope="session")
def toy_spec(toy_tokenizer: Tokenizer) -> InfillSpec:
    return infill_spec(toy_tokenizer, 96, 0.0)


@pytest.fixture(scope="session")
def token_sampler(toy_tokenizer: Tokenizer) -> TokenSampler:
    return TokenSampler(tokenize(DOCUMENTS, toy_tokenizer, seed=0), toy_tokenizer)


@pytest.fixture(scope="session")
def toy_checkpoint(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Tokenizer, toy_spec: InfillSpec) -> Path:
    """A checkpoint folder of the toy shape with random weights."""
    folder, source = tmp_path_factory.mktemp("toy"), tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(toy_tokenizer, source)
    model = DenseDiffusionGemma(dense_config(toy_spec.noise_high, SHAPES["toy"]))
    initialize(model, 0)
    write_checkpoint(model, SHAPES["toy"], source, folder, toy_spec, Sampling())
    return folder


@pytest.fixture
def run_folder(tmp_path: Path, toy_tokenizer: Tokenizer, toy_spec: InfillSpec) -> Path:
    """A run's folder as the tokenizer command leaves it."""
    folder = tmp_path / "run"
    save_tokenizer(toy_tokenizer, folder)
    toy_spec.save(folder)
    return folder
