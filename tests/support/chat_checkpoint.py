"""The tokenizer of an instruction-tuned checkpoint folder: Gemma's control tokens, a small vocabulary, a template."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CONTROLS = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<|turn>",
    "<turn|>",
    "<|channel>",
    "<channel|>",
    "<|think|>",
)

_TURNS = (
    "{{ bos_token }}"
    "{% if enable_thinking %}<|turn>system\n<|think|>\n<turn|>\n{% endif %}"
    "{% for message in messages %}<|turn>{{ message.role }}\n{{ message.content | trim }}<turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)

TEMPLATES = {
    # the model itself writes the empty thought block
    "current": _TURNS,
    # at launch the template wrote it
    "launch": _TURNS + "{% if add_generation_prompt and not enable_thinking %}<|channel>thought\n<channel|>{% endif %}",
    # no thinking at all
    "plain": _TURNS.replace("{% if enable_thinking %}<|turn>system\n<|think|>\n<turn|>\n{% endif %}", ""),
}

TEXTS = (
    "def add(a, b):\n    return a + b\n",
    "for item in items:\n    print(item)\n",
    "# Überschrift: 你好 🙂\r\n",
    "You are given a file. Fill the gap in it. <prefix> </prefix> <suffix> </suffix>\n",
)


def write_chat_tokenizer(
    folder: Path, *, template: str = "current", vocabulary: int = 340, byte_fallback: bool = False
) -> Tokenizer:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja; ids below ``len(CONTROLS)`` are control.

    ``byte_fallback``: as Gemma's own, spaces are ▁ and what has no token is spelled in bytes; else byte-level.
    """
    tokenizer = _byte_fallback() if byte_fallback else _byte_level(vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | settings))
    (folder / "chat_template.jinja").write_text(TEMPLATES[template], newline="")
    return tokenizer


def _byte_level(vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[AddedToken(name, special=True) for name in CONTROLS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def _byte_fallback() -> Tokenizer:
    merges = [("\n", "\n"), ("▁", "▁"), ("▁▁", "▁▁"), ("i", "t"), ("e", "m"), ("it", "em"), ("▁", "item")]
    characters = ["\n", "▁", *map(chr, range(0x21, 0x7F))]
    tokens = [*CONTROLS, *(f"<0x{byte:02X}>" for byte in range(256)), *characters, *map("".join, merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROLS])
    return tokenizer
