"""A byte-level BPE tokenizer of 8,192 tokens for source text, control tokens first."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from inference.formats.infill_spec import InfillSpec
from inference.training.corpus import Document

VOCABULARY = 8_192
LANGUAGES = (
    "python", "javascript", "typescript", "tsx", "markdown", "json", "go", "rust", "java", "c", "cpp", "csharp",
    "ruby", "php", "lua", "shellscript", "html", "css", "yaml", "toml", "sql", "plaintext",
)  # fmt: skip
PADS = tuple(f"<|pad{index}|>" for index in range(7))
RESERVED = 17
CONTROLS = (
    "<|pad|>", "<|eos|>", "<|bos|>", "<|suffix|>", "<|prefix|>", "<|path|>", "<|snippet|>", "<|gap_end|>",
    "<|gap_more|>", *PADS, *(f"<|lang:{language}|>" for language in LANGUAGES), "<|instruction|>",
    *(f"<|reserved{index}|>" for index in range(RESERVED)),
)  # fmt: skip
UNITS = "|".join(
    (
        r"\r?\n[ \t]*",  # a line break with the indentation that follows it
        r" ?[\p{L}\p{M}_]+",  # identifiers and words
        r" ?\p{N}",  # digits, one by one
        r" ?[^\s\p{L}\p{M}\p{N}_]+",  # runs of operators
        r"[ \t]+(?!\S)",  # spaces but the last one before a word
        r"\s",
    )
)
LEARN_FROM = {
    "python": 11_000_000, "javascript": 2_200_000, "typescript": 1_500_000, "markdown": 2_600_000, "go": 700_000,
    "rust": 700_000,
}  # fmt: skip
CANVAS_BUCKETS = (16, 32, 64, 128)


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """Learn the merges; the control tokens take the lowest ids in the order of `CONTROLS`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(UNITS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(CONTROLS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def tokenizer_texts(documents: Sequence[Document], seed: int) -> list[str]:
    """The documents that the merges are learnt from: `LEARN_FROM` characters of each language, drawn at random."""
    used: Counter[str] = Counter()
    texts: list[str] = []
    for document in random.Random(seed).sample(documents, len(documents)):
        if used[document.language] < LEARN_FROM.get(document.language, 200_000):
            used[document.language] += len(document.text)
            texts.append(document.text)
    return texts


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json` and the `tokenizer_config.json` that transformers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|eos|>",
        "pad_token": "<|pad|>",
        "split_special_tokens": True,  # text that spells a control token is data
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131_072,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder, with control tokens in text read as data."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def infill_spec(tokenizer: Tokenizer, max_prompt_tokens: int, confidence_floor: float) -> InfillSpec:
    """The control ids of `tokenizer` as the format that training and inference share."""
    ids = {token: index for index, token in enumerate(CONTROLS)}
    return InfillSpec(
        version=1,
        format="fim",
        bos=ids["<|bos|>"],
        suffix=ids["<|suffix|>"],
        prefix=ids["<|prefix|>"],
        gap_end=ids["<|gap_end|>"],
        gap_more=ids["<|gap_more|>"],
        pads=tuple(ids[pad] for pad in PADS),
        languages={language: ids[f"<|lang:{language}|>"] for language in LANGUAGES},
        noise_low=len(CONTROLS),
        noise_high=tokenizer.get_vocab_size(),
        canvas_buckets=CANVAS_BUCKETS,
        max_prompt_tokens=max_prompt_tokens,
        confidence_floor=confidence_floor,
    )
