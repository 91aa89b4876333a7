"""The bytes behind token ids, for both kinds of tokenizer: byte-level, and SentencePiece's with byte fallback."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer


@dataclass(frozen=True)
class TokenBytes:
    """``of[id]``: the UTF-8 bytes, perhaps part of a character, that a token stands for; control tokens have none."""

    of: tuple[bytes, ...]

    @classmethod
    def read(cls, tokenizer: Tokenizer, controls: Sequence[int]) -> TokenBytes:
        """Take the vocabulary apart; ``controls`` are ids without text. Raises ValueError for another kind."""
        without_text, added = set(controls), tokenizer.get_added_tokens_decoder()
        bytes_of = _reader(json.loads(tokenizer.to_str()).get("decoder"))

        def meaning(index: int) -> bytes:
            if index in without_text:
                return b""
            # added tokens are matched in the text itself, so they are spelled as they are
            return added[index].content.encode() if index in added else bytes_of(tokenizer.id_to_token(index) or "")

        return cls(tuple(map(meaning, range(tokenizer.get_vocab_size()))))

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token; a character of several tokens stands where it is complete."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return [decoder.decode(self.of[token] if 0 <= token < len(self.of) else b"") for token in token_ids]

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of all tokens; a character cut in the middle at the end is dropped."""
        return "".join(self.pieces(token_ids))


def _reader(decoder: object) -> Callable[[str], bytes]:
    kinds = json.dumps(decoder)
    if '"ByteLevel"' in kinds:
        return _byte_level
    if '"ByteFallback"' in kinds:
        return _byte_fallback
    raise ValueError("must be a byte-level tokenizer, or one with byte fallback: only those can spell any text")


def _byte_level(token: str) -> bytes:
    try:
        return bytes(_BYTES[character] for character in token)
    except KeyError as error:
        raise ValueError(f"must be a byte-level tokenizer, but a token holds {error}") from None


def _byte_fallback(token: str) -> bytes:
    if byte := _BYTE_TOKEN.fullmatch(token):
        return bytes([int(byte[1], 16)])
    return token.replace("▁", " ").encode("utf-8")


def _byte_alphabet() -> dict[str, int]:
    """The byte behind each character of a byte-level vocabulary: printable ones stand for themselves, the others for
    the code points from 256 on, in order (GPT-2's convention)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


_BYTES = _byte_alphabet()
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
