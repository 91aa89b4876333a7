import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from inference.formats.infill_spec import InfillSpec
from inference.training import drawing, shards
from inference.training.drawing import TokenSampler, draw_examples
from inference.training.examples import cut
from inference.training.shards import joined, read_shards, token_bytes, tokenize, write_shards
from tests.support.toy_training import CODE, DOCUMENTS


def test_tokens_spell_the_documents(toy_tokenizer: Tokenizer) -> None:
    table = token_bytes(toy_tokenizer)
    packed = tokenize(DOCUMENTS, toy_tokenizer, seed=0)
    for index, document in enumerate(DOCUMENTS):
        ids = packed.tokens[packed.starts[index] : packed.starts[index + 1]]
        assert b"".join(table[token] for token in ids.tolist()).decode() == document.text


def test_nodes_are_syntax_nodes(toy_tokenizer: Tokenizer, token_sampler: TokenSampler) -> None:
    packed = token_sampler.documents
    assert packed.node_starts[1] > 10
    rng = random.Random(0)
    nodes = {token_sampler._node(0, index, rng).gap for index in range(packed.node_starts[1])}
    assert any("left + right" in gap for gap in nodes)
    assert not any(gap.startswith((" ", "\n")) for gap in nodes)


def test_what_is_written_is_read_again(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "TOKENS_PER_SHARD", 500)
    summary = write_shards(DOCUMENTS * 3, DOCUMENTS[:1], run_folder, tmp_path / "out", seed=1)
    assert len(list((tmp_path / "out").glob("train-*.xz"))) > 1
    read = read_shards(tmp_path / "out")
    assert len(read) == summary["documents"] == 12
    assert len(read.tokens) == summary["tokens"] == read.starts[-1]
    assert len(read.node_tokens) == read.node_starts[-1]
    assert len(read_shards(tmp_path / "out", "held_out.xz")) == 1
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (run_folder / "tokenizer.json").read_bytes()
    with pytest.raises(FileNotFoundError, match="no shards"):
        read_shards(run_folder)
    monkeypatch.setattr(shards, "TOTAL_BYTES", 100)
    with pytest.raises(ValueError, match="more than 100"):
        write_shards(DOCUMENTS, DOCUMENTS[:1], run_folder, tmp_path / "out", seed=1)


def test_joining_keeps_every_document(toy_tokenizer: Tokenizer) -> None:
    whole = tokenize(DOCUMENTS, toy_tokenizer, seed=0)
    parts = joined([tokenize(DOCUMENTS[:1], toy_tokenizer, seed=0), tokenize(DOCUMENTS[1:], toy_tokenizer, seed=0)])
    for name in vars(whole):
        assert np.array_equal(getattr(parts, name), getattr(whole, name)), name


def test_examples_are_tokenised_as_the_server_would(
    token_sampler: TokenSampler, toy_tokenizer: Tokenizer, toy_spec: InfillSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole lines keep their tokens: prefix, gap and suffix are what tokenising their texts gives."""
    monkeypatch.setattr(drawing, "WINDOW", 200)
    rng = random.Random(5)
    table = token_bytes(toy_tokenizer)
    texts = {document.text for document in DOCUMENTS}
    for _ in range(300):
        one = token_sampler.draw(rng)
        before, after = (b"".join(table[t] for t in ids.tolist()).decode() for ids in (one.before, one.after))
        whole = before + one.line + one.gap + one.rest + after
        assert any(whole in text for text in texts)
        for known, text in (
            (one.before.tolist() + _ids(toy_tokenizer, one.line), before + one.line),
            (_ids(toy_tokenizer, one.rest) + one.after.tolist(), one.rest + after),
        ):
            assert known == _ids(toy_tokenizer, text)


def test_prompts_keep_to_the_longest(token_sampler: TokenSampler, toy_spec: InfillSpec) -> None:
    lengths = [len(e.prompt) for e in draw_examples(token_sampler, toy_spec, random.Random(1), 200, 128)]
    assert max(lengths) == toy_spec.max_prompt_tokens
    assert cut([1] * 3, [2] * 3, 4) == ([1] * 3, [2])


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def test_line_breaks_begin_tokens(toy_tokenizer: Tokenizer) -> None:
    assert all(data.find(b"\n") <= 0 for data in token_bytes(toy_tokenizer) if not data.startswith(b"\r"))
    assert CODE
