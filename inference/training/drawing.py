"""From token shards to training examples, fast enough that a few cores feed a large accelerator.

Line breaks always begin a token of their own, so whole lines keep their tokens and only the lines that a cut goes
through are tokenised again.
"""

import bisect
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inference.formats.infill_spec import InfillSpec
from inference.training.examples import (
    EMPTY_PREFIX,
    EMPTY_SUFFIX,
    LANGUAGE_WEIGHTS,
    OTHER_WEIGHT,
    Example,
    canvas_length,
    cut,
)
from inference.training.shards import TokenDocuments, token_bytes
from inference.training.spans import SHARES, draw_span, into_word
from inference.training.tokenizer import LANGUAGES

WINDOW = 4_096  # tokens of a long document that are looked at
MODULE_TOKENS = 6_000  # a longer document is not drawn more often
BUDGET_SHARES = (0.35, 0.65, 1.0)  # of the longest prompt
ANY_FIT = 0.7  # how often the canvas is any of the small ones that hold the gap, so that its size tells little
BATCH = 64  # examples whose cut lines are tokenised in one call


@dataclass(frozen=True)
class Cut:
    """A document's window with a gap in it: ids on both sides that keep their tokens, and the text between them."""

    language: str
    before: NDArray[np.uint16]
    line: str  # from the last line break before the gap to the gap
    gap: str
    rest: str  # from the gap to the first line break behind it
    after: NDArray[np.uint16]


class TokenSampler:
    """Draws gaps: a language by weight, a document by size, a kind of span by its share."""

    def __init__(self, documents: TokenDocuments, tokenizer: Tokenizer) -> None:
        self.documents, self.tokenizer = documents, tokenizer
        table = token_bytes(tokenizer)
        self._table = table
        self._sizes = np.array([len(data) for data in table], dtype=np.int64)
        self._breaks = np.array([b"\n" in data for data in table])
        lengths = np.minimum(np.diff(documents.starts), MODULE_TOKENS)
        self._groups: list[tuple[NDArray[np.int64], list[int]]] = []
        self._weights: list[float] = []
        for language in np.unique(documents.languages):
            members = np.flatnonzero((documents.languages == language) & (lengths > 0))
            if len(members):
                self._groups.append((members, np.cumsum(lengths[members]).tolist()))
                self._weights.append(LANGUAGE_WEIGHTS.get(LANGUAGES[language], OTHER_WEIGHT))
        if not self._groups:
            raise ValueError("the shards hold no text to draw from")

    def draw(self, rng: random.Random) -> Cut:
        """One gap."""
        members, sizes = rng.choices(self._groups, self._weights)[0]
        index = int(members[bisect.bisect_right(sizes, rng.randrange(sizes[-1]))])
        kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
        first, last = self.documents.node_starts[index : index + 2].tolist()
        if kind == "node" and last > first:
            return self._node(index, rng.randrange(first, last), rng)
        ids = self._ids(index)
        begin, end = self._window(ids, rng.randrange(len(ids)))
        text = self._text(ids[begin:end])
        span = draw_span(text, "", rng, "line" if kind == "node" else kind)
        return self._cut(index, ids[begin:end], text, span.start, span.end)

    def _node(self, index: int, node: int, rng: random.Random) -> Cut:
        ids = self._ids(index)
        token = int(self.documents.node_tokens[node])
        begin, end = self._window(ids, token)
        start = int(self._sizes[ids[begin:token]].sum()) + int(self.documents.node_offsets[node])
        data = b"".join(map(self._table.__getitem__, ids[begin:end].tolist()))
        first = len(data[:start].decode(errors="replace"))
        length = len(data[start : start + int(self.documents.node_bytes[node])].decode(errors="replace"))
        text = data.decode(errors="replace")
        return self._cut(index, ids[begin:end], text, into_word(text, first, first + length, rng), first + length)

    def _ids(self, index: int) -> NDArray[np.uint16]:
        start, end = self.documents.starts[index : index + 2].tolist()
        return self.documents.tokens[start:end]

    def _window(self, ids: NDArray[np.uint16], token: int) -> tuple[int, int]:
        """Whole lines of a long document around `token`."""
        if len(ids) <= WINDOW:
            return 0, len(ids)
        begin = max(0, token - WINDOW // 2)
        end = min(len(ids), begin + WINDOW)
        if begin:
            breaks = np.flatnonzero(self._breaks[ids[begin : token + 1]])
            begin += int(breaks[0]) if len(breaks) else 0
        if end < len(ids):
            breaks = np.flatnonzero(self._breaks[ids[token:end]])
            end = token + int(breaks[-1]) if len(breaks) and breaks[-1] else end
        return begin, end

    def _text(self, ids: NDArray[np.uint16]) -> str:
        return b"".join(map(self._table.__getitem__, ids.tolist())).decode(errors="replace")

    def _cut(self, index: int, ids: NDArray[np.uint16], text: str, start: int, end: int) -> Cut:
        breaks = np.flatnonzero(self._breaks[ids])
        lines_before, lines_behind = text.count("\n", 0, start), text.count("\n", 0, end)
        before = ids[: breaks[lines_before - 1]] if lines_before else ids[:0]
        after = ids[breaks[lines_behind] :] if lines_behind < len(breaks) else ids[:0]
        first = text.rfind("\n", 0, start)
        last = text.find("\n", end)
        return Cut(
            language=LANGUAGES[self.documents.languages[index]],
            before=before,
            line=text[max(0, first) : start],
            gap=text[start:end],
            rest=text[end : len(text) if last < 0 else last],
            after=after,
        )


def draw_examples(
    sampler: TokenSampler, spec: InfillSpec, rng: random.Random, count: int, largest_canvas: int
) -> Iterator[Example]:
    """`count` examples with canvases of at most `largest_canvas` tokens."""
    cuts = [sampler.draw(rng) for _ in range(count)]
    texts = itertools.chain.from_iterable((one.line, one.gap, one.rest) for one in cuts)
    encoded = [e.ids for e in sampler.tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    for index, one in enumerate(cuts):
        line, gap, rest = encoded[3 * index : 3 * index + 3]
        budget = max(8, int(rng.choice(BUDGET_SHARES) * spec.max_prompt_tokens))
        prefix = one.before[-budget:].tolist() + line
        suffix = rest + one.after[:budget].tolist()
        variant = rng.random()
        if variant < EMPTY_SUFFIX:
            suffix = []
        elif variant < EMPTY_SUFFIX + EMPTY_PREFIX:
            prefix = []
        prompt = spec.prompt(one.language, *cut(prefix, suffix, budget - 4))
        length = canvas_length(len(gap), spec.canvas_buckets, largest_canvas, ANY_FIT, rng)
        yield Example(prompt, gap, length)
