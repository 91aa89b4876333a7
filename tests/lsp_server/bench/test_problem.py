import gzip
import json
from pathlib import Path

import pytest

from lsp_server.bench.problem import BadProblems, Problem, read_problems

SAMPLE = Path(__file__).parents[2] / "data/infilling/sample.jsonl"


def test_plain_and_gzip_are_the_same(tmp_path: Path) -> None:
    packed = tmp_path / "sample.jsonl.gz"
    packed.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    assert read_problems(packed) == read_problems(SAMPLE)
    assert [problem.task_id for problem in read_problems(SAMPLE, 2)] == ["Sample/right", "Sample/loops"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no problems"),
        (b"\n\n", "holds no problems"),
        (b'{"task_id": "a"}\n', "line 1: 'prompt' is missing"),
        (b'{"task_id": "a", "suffix": ""}\n', "line 1: 'prompt' is missing"),
        (b'{"task_id": "a", "prompt": 1}\n', "line 1: 'prompt' is no string"),
        (b'{"task_id": "a", "prompt": "\\ud800"}\n', "line 1: 'prompt' holds a lone surrogate"),
        (b"[]\n", "line 1: must be an object"),
        (b"[" * 100_000 + b"\n", "line 1: not JSON"),
        (SAMPLE.read_bytes() + b"{\n", "line 6: not JSON"),
        (b"\xff\xfe\n", "is damaged"),
    ],
)
def test_a_file_it_cannot_use_is_named(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadProblems, match=sentence):
        read_problems(path)


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(SAMPLE.read_bytes())[:200]])
def test_damaged_gzip_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(BadProblems, match="is damaged"):
        read_problems(path)


def test_exact_means_the_same_text_but_for_line_ends() -> None:
    problem = Problem("a", "def f():\n", "    return x\n", "    x = 1\n", "", "f")
    assert problem.is_exact(problem.document("    x = 1\n"))
    assert problem.is_exact(problem.document("    x = 1  \n"))
    assert not problem.is_exact(problem.document("    x = 1"))
    assert not problem.is_exact(problem.document("    x = 2\n"))


def test_the_sample_passes_with_its_own_solutions() -> None:
    from lsp_server.bench.sandbox import run_program

    for problem in read_problems(SAMPLE):
        document = problem.document(problem.canonical_solution)
        assert run_program(problem.program(document)).passed
        assert json.dumps(problem.task_id)


def test_of_humaneval_itself_each_line_of_a_solution_is_a_gap(tmp_path: Path) -> None:
    whole = {
        "task_id": "HumanEval/0",
        "prompt": "def f(x):\n",
        "canonical_solution": "    y = x\n\n    return y\n",
        "test": "def check(f): assert f(1) == 1",
        "entry_point": "f",
    }
    path = tmp_path / "HumanEval.jsonl"
    path.write_text(json.dumps(whole) + "\n")
    first, second = read_problems(path)
    assert (first.task_id, first.prompt, first.canonical_solution) == ("HumanEval/0/L0", "def f(x):\n", "    y = x")
    assert first.suffix == "\n\n    return y\n"
    assert (second.prompt, second.canonical_solution, second.suffix) == (
        "def f(x):\n    y = x\n\n",
        "    return y",
        "\n",
    )
    assert first.document(first.canonical_solution) == second.document(second.canonical_solution)
    assert len(read_problems(path, 1)) == 1
