"""From documents to batches of prompts and clean canvases, in pools that depend on seed and number only."""

import bisect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from inference.formats.infill_spec import InfillSpec
from inference.training.corpus import Document
from inference.training.spans import draw_span, excerpt

LANGUAGE_WEIGHTS = {
    "python": 0.60, "javascript": 0.08, "typescript": 0.065, "tsx": 0.005, "markdown": 0.15, "go": 0.03, "rust": 0.03,
}  # fmt: skip
OTHER_WEIGHT = 0.01  # of each remaining language
MODULE_CHARACTERS = 20_000  # a longer document is not drawn more often
PROMPT_BUDGETS = (160, 288, 448)  # tokens
EMPTY_SUFFIX, EMPTY_PREFIX = 0.12, 0.04
SLACK, CUT = 0.25, 0.10  # how often the canvas is one bucket larger, one smaller than the gap asks for
ANY_FIT = 0.7  # later: how often it is any bucket up to 64 that holds the gap, so that its size tells little
ANY_FIT_FROM = 24  # pool
LONG_CANVAS = 0.3  # how often a gap that asks for the largest canvas gets it


@dataclass(frozen=True)
class Example:
    """One gap: what the encoder reads, the gap's tokens and the length of its canvas."""

    prompt: list[int]
    gap: list[int]
    canvas_length: int


@dataclass(frozen=True)
class Batch:
    """`prompts` (B, P) int64, padded on the right; `lengths` (B,); `canvases` (B, C) int64, clean."""

    prompts: Tensor
    lengths: Tensor
    canvases: Tensor


class Sampler:
    """Draws documents by language weight, then by size."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._by_language: dict[str, tuple[list[Document], list[int]]] = {}
        for language in sorted({document.language for document in documents}):
            group = [document for document in documents if document.language == language]
            sizes = itertools.accumulate(min(len(document.text), MODULE_CHARACTERS) for document in group)
            self._by_language[language] = (group, list(sizes))
        self._languages = list(self._by_language)
        self._weights = [LANGUAGE_WEIGHTS.get(language, OTHER_WEIGHT) for language in self._languages]

    def draw(self, rng: random.Random) -> Document:
        """One document."""
        group, sizes = self._by_language[rng.choices(self._languages, self._weights)[0]]
        return group[bisect.bisect_right(sizes, rng.randrange(sizes[-1]))]


def context(text: str, start: int, end: int, budget: int) -> tuple[str, str]:
    """Prefix and suffix text that surely hold `budget` tokens where the document has them; whole lines if possible."""
    reach = budget * 8
    left = max(0, start - reach)
    if left:
        left = text.find("\n", left, start) + 1 or left
    return text[left:start], text[end : end + reach]


def cut(prefix: Sequence[int], suffix: Sequence[int], budget: int) -> tuple[Sequence[int], Sequence[int]]:
    """Keep the prefix's tail and the suffix's head: two thirds and one third, what one leaves goes to the other."""
    head = min(len(suffix), max(budget // 3, budget - len(prefix)))
    tail = min(len(prefix), budget - head)
    return prefix[len(prefix) - tail :], suffix[:head]


def canvas_length(gap: int, buckets: Sequence[int], largest: int, any_fit: float, rng: random.Random) -> int:
    """A bucket for a gap of that many tokens and its end token, with random slack and random cuts."""
    allowed = [bucket for bucket in buckets if bucket <= largest]
    index = min(bisect.bisect_left(allowed, gap + 1), len(allowed) - 1)
    if any_fit and index <= 2 and rng.random() < any_fit:
        return allowed[rng.randint(index, min(2, len(allowed) - 1))]
    draw = rng.random()
    if draw < SLACK:
        index = min(index + 1, min(2, len(allowed) - 1)) if index < 2 else index
    elif draw < SLACK + CUT:
        index = max(index - 1, 0)
    if allowed[index] == buckets[-1] and rng.random() > LONG_CANVAS:
        index -= 1
    return allowed[index]


def draw_examples(
    sampler: Sampler,
    tokenizer: Tokenizer,
    spec: InfillSpec,
    rng: random.Random,
    count: int,
    largest_canvas: int,
    any_fit: float,
) -> list[Example]:
    """`count` gaps; prefix, gap and suffix are tokenised apart, so a cut may fall inside a word."""
    drawn: list[tuple[str, int, float]] = []
    texts: list[str] = []
    while len(drawn) < count:
        document = sampler.draw(rng)
        text = excerpt(document.text, rng)
        span = draw_span(text, document.language, rng)
        budget = min(rng.choice(PROMPT_BUDGETS), spec.max_prompt_tokens)
        drawn.append((document.language, budget, rng.random()))
        prefix, suffix = context(text, span.start, span.end, budget)
        texts += [prefix, text[span.start : span.end], suffix]
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    examples: list[Example] = []
    for index, (language, budget, variant) in enumerate(drawn):
        prefix_ids, gap_ids, suffix_ids = encoded[3 * index : 3 * index + 3]
        if variant < EMPTY_SUFFIX:
            suffix_ids = []
        elif variant < EMPTY_SUFFIX + EMPTY_PREFIX:
            prefix_ids = []
        prompt = spec.prompt(language, *cut(prefix_ids, suffix_ids, budget - 4))
        length = canvas_length(len(gap_ids), spec.canvas_buckets, largest_canvas, any_fit, rng)
        examples.append(Example(prompt, gap_ids, length))
    return examples


def make_batches(
    examples: Sequence[Example], spec: InfillSpec, token_budget: int, canvases: int, rng: random.Random
) -> list[Batch]:
    """Examples of like size together; a batch has `token_budget` prompt and canvas tokens at most, with padding."""
    ordered = sorted(examples, key=lambda example: (len(example.prompt) // 32, example.canvas_length))
    groups: list[list[Example]] = [[]]
    for example in ordered:
        group = [*groups[-1], example]
        size = max(len(e.prompt) for e in group) + canvases * max(e.canvas_length for e in group)
        if len(group) > 1 and size * len(group) > token_budget:
            groups.append([example])
        else:
            groups[-1] = group
    rng.shuffle(groups)
    return [_batch(group, spec) for group in groups]


def _batch(group: Sequence[Example], spec: InfillSpec) -> Batch:
    longest = max(len(example.prompt) for example in group)
    canvas = max(example.canvas_length for example in group)
    lengths = torch.tensor([len(example.prompt) for example in group])
    prompts = torch.zeros(len(group), longest, dtype=torch.int64)
    for row, example in zip(prompts, group, strict=True):
        row[: len(example.prompt)] = torch.tensor(example.prompt)
    return Batch(prompts, lengths, torch.tensor([spec.canvas(example.gap, canvas) for example in group]))


@dataclass(frozen=True)
class Pools:
    """The endless, repeatable stream of batches: pool n depends on the seed and n only."""

    sampler: Sampler
    tokenizer: Tokenizer
    spec: InfillSpec
    seed: int
    examples: int = 1024
    token_budget: int = 6_144
    canvases: int = 4
    growth: tuple[tuple[int, int], ...] = ((4, 32), (24, 64))  # (pools, largest canvas) at the start

    def largest_canvas(self, number: int) -> int:
        """Canvases grow over the first pools (arXiv 2512.06776)."""
        return next((largest for end, largest in self.growth if number < end), self.spec.canvas_buckets[-1])

    def pool(self, number: int) -> list[Batch]:
        """The batches of pool `number`, in training order."""
        rng = random.Random(f"{self.seed}/{number}")
        largest = self.largest_canvas(number)
        any_fit = ANY_FIT if number >= ANY_FIT_FROM else 0.0
        examples = draw_examples(self.sampler, self.tokenizer, self.spec, rng, self.examples, largest, any_fit)
        return make_batches(examples, self.spec, self.token_budget, self.canvases, rng)
