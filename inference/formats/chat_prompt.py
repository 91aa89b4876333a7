"""The prompt of an instruction-tuned checkpoint: its own chat template around text that is data, whatever it spells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from inference.errors import EngineError
from inference.formats.piecewise_encoder import PiecewiseEncoder
from inference.formats.token_bytes import TokenBytes
from inference.protocol import ErrorCode

_MESSAGE = "\ue000"
"""Stands for the user's message while a template is rendered: a private character, so no template touches it."""

LONGEST_NAME = 32
"""Characters of a language's name that a prompt shows."""


@dataclass(frozen=True)
class Turns:
    """What a chat template puts before the user's message, and behind it up to the opening of the model's turn."""

    before: tuple[int, ...]
    behind: tuple[int, ...]


@dataclass(frozen=True)
class ChatPrompt:
    """Token ids of a chat with one message.

    ``turn_end`` and ``eos`` close the model's turn. ``no_thought`` is the empty thought block where the template leaves
    it to the model to write that it does not think; ``thought_opening`` and ``thought_end`` frame a thought.
    """

    tokenizer: Tokenizer
    token_bytes: TokenBytes
    pieces: PiecewiseEncoder
    controls: frozenset[int]
    turn_end: int
    eos: int
    quiet: Turns
    thinking: Turns | None
    no_thought: tuple[int, ...]
    thought_opening: tuple[int, ...]
    thought_end: int

    @classmethod
    def load(cls, folder: Path) -> ChatPrompt:
        """Read ``tokenizer.json``, ``tokenizer_config.json`` and the chat template. Raises ValueError, which names the
        file."""
        path = folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exceptions
            raise ValueError(f"{path}: cannot be read ({error})") from error
        named = {name: tokenizer.token_to_id(token) for name, token in _CONTROLS.items()}
        ids = {name: index for name, index in named.items() if index is not None}
        for name in ("turn_end", "eos"):
            if name not in ids:
                raise ValueError(f"{path}: has no token {_CONTROLS[name]!r}, which ends the model's turn")
        added = tokenizer.get_added_tokens_decoder()
        controls = {index for index, token in added.items() if token.special} | set(ids.values())
        try:
            token_bytes = TokenBytes.read(tokenizer, sorted(controls))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

        def encoded(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

        quiet, thinking = _rendered(folder, thinking=False), _rendered(folder, thinking=True)
        can_think = thinking != quiet and {"thought", "thought_end"} <= ids.keys()
        leaves_thought_to_model = can_think and _CONTROLS["thought_end"] not in quiet[1]
        opening = encoded(_CONTROLS["thought"] + "thought\n") if can_think else ()
        prompt = cls(
            tokenizer=tokenizer,
            token_bytes=token_bytes,
            pieces=PiecewiseEncoder(DataEncoder(tokenizer, frozenset(controls))),
            controls=frozenset(controls),
            turn_end=ids["turn_end"],
            eos=ids["eos"],
            quiet=Turns(encoded(quiet[0]), encoded(quiet[1])),
            thinking=Turns(encoded(thinking[0]), encoded(thinking[1])) if can_think else None,
            no_thought=(*opening, ids["thought_end"]) if leaves_thought_to_model else (),
            thought_opening=opening,
            thought_end=ids["thought_end"] if can_think else ids["turn_end"],
        )
        if prompt.text([*prompt.encode("a"), *prompt.encode(" b\n")]) != "a b\n":
            raise ValueError(f"{path}: does not give back the text that it reads in parts")
        return prompt

    def turns(self, thinking: bool) -> Turns:
        """The template's own with thinking on or off. Raises EngineError where it has no such switch."""
        if not thinking:
            return self.quiet
        if self.thinking is None:
            raise EngineError(
                "the chat template of the loaded checkpoint has no thinking; send the edit without 'thinking'",
                ErrorCode.BAD_REQUEST,
            )
        return self.thinking

    def encode(self, text: str) -> list[int]:
        """The token ids of text, never a control id: what spells a control token is read letter by letter."""
        return self.pieces(text)

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of token ids; control tokens have none."""
        return self.token_bytes.text(token_ids)


@dataclass(frozen=True)
class DataEncoder:
    """Encodes text that is data: never to a control id."""

    tokenizer: Tokenizer
    controls: frozenset[int]

    def __call__(self, text: str) -> list[int]:
        """The token ids of ``text``; what spells a control token goes letter by letter."""
        ids = self._tokens(text)
        if self.controls.isdisjoint(ids):
            return ids
        spelled = "|".join(re.escape(self.tokenizer.id_to_token(index) or "") for index in sorted(self.controls))
        parts = re.split(f"({spelled})", text)
        return [
            index
            for number, part in enumerate(parts)
            for piece in (part if number % 2 else [part])
            for index in self._tokens(piece)
        ]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


_CONTROLS = {
    "turn_end": "<turn|>",
    "eos": "<eos>",
    "thought": "<|channel>",
    "thought_end": "<channel|>",
}
"""Gemma's names. The tokenizer says which ids they have."""


def _rendered(folder: Path, *, thinking: bool) -> tuple[str, str]:
    """What the template puts before and behind a user's message."""
    from transformers import PreTrainedTokenizerFast  # takes a second, and knows how templates are stored and run

    try:
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        text: str = tokenizer.apply_chat_template(
            [{"role": "user", "content": _MESSAGE}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=thinking,
        )
    except Exception as error:  # a template is a program: whatever goes wrong in it ends here
        raise ValueError(f"{folder}: its chat template cannot be rendered ({error})") from error
    before, message, behind = text.partition(_MESSAGE)
    if not message or _MESSAGE in behind:
        raise ValueError(f"{folder}: its chat template does not show a message once")
    return before, behind
