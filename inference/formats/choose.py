"""Which format a checkpoint folder takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.formats import infill_spec
from inference.formats.base import Format
from inference.formats.chat import ChatFormat
from inference.formats.fim import FimFormat


def load_format(folder: Path, config: Mapping[str, Any]) -> Format:
    """``infill.json`` says that the checkpoint is trained to fill gaps; else its chat template is used.

    ``config`` is the content of ``config.json``. Raises ValueError, one sentence that names the file and what is wrong.
    """
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(f"{folder / 'tokenizer.json'}: is missing; save the checkpoint with its fast tokenizer")
    vocab_size = (config.get("text_config") or {}).get("vocab_size", 0)
    spec_path, tokenizer_path = folder / infill_spec.FILE_NAME, folder / "tokenizer.json"
    if spec_path.is_file():
        fim = FimFormat.load(folder)
        if fim.spec.noise_high > vocab_size:
            raise ValueError(_mixed(spec_path, fim.spec.noise_high - 1, vocab_size))
        return fim
    chat = ChatFormat.load(folder, config)
    # added tokens beyond the vocabulary are those of images, which no text spells
    highest = max(chat.prompt.tokenizer.get_vocab_size(with_added_tokens=False) - 1, chat.prompt.turn_end)
    if highest >= vocab_size:
        raise ValueError(_mixed(tokenizer_path, highest, vocab_size))
    return chat


def _mixed(path: Path, token: int, vocab_size: int) -> str:
    return (
        f"{path}: names tokens up to {token}, but config.json has a vocabulary of {vocab_size}; the files belong to "
        "different checkpoints"
    )
