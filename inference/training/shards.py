"""The corpus as token shards: what travels to a machine that trains, small and ready to be cut into examples.

A shard is one xz stream over an uncompressed `.npz`: tokens as uint16 (tuned for two-byte values, it is 7 % smaller
than the text itself under xz), where documents end, their languages, and where syntax nodes lie, so that the machine
that trains needs neither a parser nor a whole tokenizer pass.
"""

import io
import json
import lzma
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inference.training.corpus import MANIFEST, Document
from inference.training.spans import draw_nodes
from inference.training.tokenizer import LANGUAGES, load_tokenizer

SHARD_BYTES = 15_000_000
TOTAL_BYTES = 48_000_000  # small enough to travel to the machine that trains
TOKENS_PER_SHARD = 20_000_000
BYTES_PER_NODE = 300  # one node is drawn ahead for so many bytes of a document
BATCH = 256  # documents tokenised at a time
TWO_BYTES = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 1, "pb": 1}]
BESIDE = ("tokenizer.json", "tokenizer_config.json", "infill.json")
SUMMARY = "pack.json"


@dataclass(frozen=True)
class TokenDocuments:
    """Documents as one run of tokens.

    `tokens` (N,) uint16; document i is `tokens[starts[i]:starts[i + 1]]`, `starts` (D + 1,) int64; `languages` (D,)
    indexes `LANGUAGES`. Its nodes are `node_starts[i]:node_starts[i + 1]` of `node_tokens` (M,) uint32, the token in
    the document in which the node begins, `node_offsets` (M,) uint8, the byte in that token, and `node_bytes` (M,)
    uint16, the node's length.
    """

    tokens: NDArray[np.uint16]
    starts: NDArray[np.int64]
    languages: NDArray[np.uint8]
    node_starts: NDArray[np.int64]
    node_tokens: NDArray[np.uint32]
    node_offsets: NDArray[np.uint8]
    node_bytes: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.languages)


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of every token of a byte-level tokenizer (printable characters stand for themselves)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [value for value in range(256) if value not in set(printable)]
    alphabet = {chr(value): value for value in printable} | {chr(256 + n): value for n, value in enumerate(hidden)}
    tokens = (tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size()))
    return [bytes(alphabet[character] for character in token or "") for token in tokens]


def tokenize(documents: Sequence[Document], tokenizer: Tokenizer, seed: int) -> TokenDocuments:
    """Tokens and nodes of `documents`, in their order."""
    sizes = np.array([len(data) for data in token_bytes(tokenizer)], dtype=np.int64)
    tokens: list[NDArray[np.uint16]] = []
    nodes: list[tuple[int, int, int]] = []
    node_counts: list[int] = []
    for start in range(0, len(documents), BATCH):
        batch = documents[start : start + BATCH]
        encoded = tokenizer.encode_batch([document.text for document in batch], add_special_tokens=False)
        for document, encoding in zip(batch, encoded, strict=True):
            ids = np.array(encoding.ids, dtype=np.uint16)
            drawn = _nodes(document, np.cumsum(sizes[ids]), seed)
            tokens.append(ids)
            nodes += drawn
            node_counts.append(len(drawn))
    columns = np.array(nodes, dtype=np.int64).reshape(-1, 3)
    return TokenDocuments(
        tokens=np.concatenate(tokens),
        starts=_starts([len(ids) for ids in tokens]),
        languages=np.array([_language(document.language) for document in documents], dtype=np.uint8),
        node_starts=_starts(node_counts),
        node_tokens=columns[:, 0].astype(np.uint32),
        node_offsets=columns[:, 1].astype(np.uint8),
        node_bytes=columns[:, 2].astype(np.uint16),
    )


def _language(name: str) -> int:
    return LANGUAGES.index(name if name in LANGUAGES else "plaintext")


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(np.array(lengths, dtype=np.int64)))).astype(np.int64)


def _nodes(document: Document, ends: NDArray[np.int64], seed: int) -> list[tuple[int, int, int]]:
    data = document.text.encode()
    rng = random.Random(f"{seed}/{document.package}/{document.path}")
    drawn = sorted(set(draw_nodes(data, document.language, -(-len(data) // BYTES_PER_NODE), rng)))
    indices = np.searchsorted(ends, [start for start, _ in drawn], side="right").tolist()
    return [
        (index, start - (int(ends[index - 1]) if index else 0), end - start)
        for index, (start, end) in zip(indices, drawn, strict=True)
    ]


def write_shards(
    documents: Sequence[Document], held_out: Sequence[Document], run: Path, folder: Path, seed: int
) -> dict[str, object]:
    """Write both splits and the run's tokenizer into `folder`; returns what `pack.json` says about them.

    A corpus that packs into more than `TOTAL_BYTES` is a `ValueError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.xz"):
        old.unlink()
    tokenizer = load_tokenizer(run)
    for name in BESIDE:
        if run != folder:
            shutil.copyfile(run / name, folder / name)
    shutil.copyfile(MANIFEST, folder / MANIFEST.name)
    shuffled = random.Random(seed).sample(documents, len(documents))
    files: dict[str, int] = {}
    count = 0
    part: list[Document] = []
    size = 0
    for document in shuffled:
        part.append(document)
        size += len(document.text) // 3
        if size >= TOKENS_PER_SHARD:
            count += _write(tokenize(part, tokenizer, seed), folder / f"train-{len(files):02}.xz", files)
            part, size = [], 0
    if part:
        count += _write(tokenize(part, tokenizer, seed), folder / f"train-{len(files):02}.xz", files)
    _write(tokenize(held_out, tokenizer, seed), folder / "held_out.xz", files)
    characters: Counter[str] = Counter()
    for document in documents:
        characters[document.language] += len(document.text)
    summary: dict[str, object] = {
        "documents": len(documents), "tokens": count, "characters": dict(characters.most_common()), "files": files,
    }  # fmt: skip
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
    if sum(files.values()) > TOTAL_BYTES:
        raise ValueError(f"{folder} holds {sum(files.values()):,} bytes, more than {TOTAL_BYTES:,}; pack fewer sources")
    return summary


def _write(documents: TokenDocuments, path: Path, files: dict[str, int]) -> int:
    raw = io.BytesIO()
    np.savez(raw, **{field.name: getattr(documents, field.name) for field in fields(documents)})
    packed = lzma.compress(raw.getvalue(), format=lzma.FORMAT_XZ, filters=TWO_BYTES)
    if len(packed) > SHARD_BYTES:
        raise ValueError(
            f"{path.name} would be {len(packed):,} bytes, more than {SHARD_BYTES:,}; lower TOKENS_PER_SHARD"
        )
    path.write_bytes(packed)
    files[path.name] = len(packed)
    print(
        f"{path.name}: {len(documents):,} documents, {len(documents.tokens):,} tokens, {len(packed):,} bytes",
        flush=True,
    )
    return len(documents.tokens)


def read_shards(folder: Path, pattern: str = "train-*.xz") -> TokenDocuments:
    """All documents of the shards that match `pattern`; none is a `FileNotFoundError`."""
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no shards ({pattern}); write them with `pack`")
    return joined([_read(path) for path in paths])


def joined(parts: Sequence[TokenDocuments]) -> TokenDocuments:
    """Several sets of documents as one."""
    columns: dict[str, NDArray[np.int64]] = {}
    for field in fields(TokenDocuments):
        arrays = [getattr(part, field.name) for part in parts]
        if field.name.endswith("starts"):
            columns[field.name] = _starts([int(length) for array in arrays for length in np.diff(array)])
        else:
            columns[field.name] = np.concatenate(arrays)
    return TokenDocuments(**columns)  # type: ignore[arg-type]


def _read(path: Path) -> TokenDocuments:
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes())), allow_pickle=False) as arrays:
        return TokenDocuments(**{field.name: arrays[field.name] for field in fields(TokenDocuments)})
