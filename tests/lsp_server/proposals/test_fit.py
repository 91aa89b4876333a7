import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

from lsp_server.proposals.evidence import evidence
from tests.benchmarks.proposals.cases import draw, read
from tests.benchmarks.proposals.fit import fit, regress
from tests.benchmarks.proposals.measure import SHAPES, measure


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    source = Path(textwrap.__file__).read_text(encoding="utf-8")
    documents = [
        {"package": "one", "path": f"{name}.py", "language": "python", "text": source} for name in ("here", "there")
    ]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    return path


def test_the_regression_finds_the_odds_that_made_its_rows() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 2))
    right = rng.random(20_000) < 1 / (1 + np.exp(-(2 * x[:, 0] - x[:, 1] - 0.5)))
    weights = regress(["first", "second"], x, right.astype(float), penalty=1.0)
    assert weights == pytest.approx({"bias": -0.5, "first": 2, "second": -1}, abs=0.1)
    assert evidence({"first": 1.0, "second": 1.0, "not known": 5.0}, weights) == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_seed_cuts_the_same_gaps(corpus: Path, shape: str) -> None:
    files = read(corpus, ("python",))["python"]
    first, again = (list(draw(files, shape, 8, seed=1)) for _ in range(2))
    assert first == again
    assert len(first) == 8
    for case in first:
        left, right = case.snapshot.text[: case.gap.start], case.snapshot.text[case.gap.end :]
        assert left + case.truth + right == case.file.snapshot.text
        assert case.is_right(case.truth)
        assert not case.is_right(case.truth + "x")


def test_a_copy_nearby_is_found_again(corpus: Path) -> None:
    """The whole way: what a file lacks stands in its twin."""
    row = next(line for line in measure(corpus, 12, 0) if line.startswith("| line | python | nearby"))
    assert float(row.split("|")[5]) > 0.8


def test_a_fit_says_how_to_repeat_it(corpus: Path) -> None:
    fitted = fit(corpus, 10, 0, "the command", share=1.0)
    assert fitted["command"] == "the command"
    assert fitted["candidates"] >= fitted["gaps"] > 0
    assert "bias" in fitted["weights"]
