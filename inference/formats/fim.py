"""The format of checkpoints trained to fill one gap: suffix and prefix in the prompt, the gap on the canvas."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from inference.canvas import TokenCanvas
from inference.errors import EngineError
from inference.formats.base import Prepared, Reading
from inference.formats.infill_spec import InfillSpec
from inference.protocol import ErrorCode, FinishReason, Fixed, InfillRequest, Masked

_CHARACTERS_PER_TOKEN = 8
"""More than any text needs on average: what lies beyond the budget by this measure is cut before it is tokenised."""


@dataclass(frozen=True)
class FimFormat:
    """Prompt: language, suffix, prefix; canvas: gap, gap end, pads. ``token_bytes`` holds each token's bytes."""

    spec: InfillSpec
    tokenizer: Tokenizer
    token_bytes: tuple[bytes, ...]

    @classmethod
    def load(cls, folder: Path) -> FimFormat:
        """Read ``infill.json`` and the byte-level ``tokenizer.json``. Raises ValueError, which names the file."""
        spec = InfillSpec.load(folder)
        path = folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exceptions
            raise ValueError(f"{path}: cannot be read ({error})") from error
        tokenizer.encode_special_tokens = True  # text that spells a control token is data
        tokens = [tokenizer.id_to_token(index) or "" for index in range(tokenizer.get_vocab_size())]
        highest = max(spec.bos, spec.suffix, spec.prefix, spec.gap_end, spec.gap_more, *spec.pads, spec.noise_high - 1)
        if highest >= len(tokens):
            raise ValueError(f"{path}: has {len(tokens)} tokens, but infill.json names token {highest}")
        try:
            token_bytes = tuple(
                bytes(_BYTES[character] for character in token) if spec.noise_low <= index < spec.noise_high else b""
                for index, token in enumerate(tokens)
            )
        except KeyError as error:
            raise ValueError(f"{path}: must be a byte-level tokenizer, but a token holds {error}") from None
        return cls(spec, tokenizer, token_bytes)

    @property
    def noise_range(self) -> tuple[int, int]:
        """Text tokens only: a control token is never noise."""
        return self.spec.noise_low, self.spec.noise_high

    @property
    def confidence_floor(self) -> float:
        """As ``infill.json`` has it."""
        return self.spec.confidence_floor

    def prepare(self, request: InfillRequest) -> Prepared:
        """Lay out a request with exactly one gap; see :meth:`Format.prepare`."""
        prefix, gap, suffix = _around_the_gap(request)
        prefix_ids, suffix_ids, truncated = self._fit(prefix, suffix)
        longest = self.spec.canvas_buckets[-1]
        wanted = min(gap.max_tokens, longest - 1) + 1  # one more, for the gap end
        length = next(bucket for bucket in self.spec.canvas_buckets if bucket >= wanted)
        token_ids = torch.zeros(request.n, length, dtype=torch.int64)
        return Prepared(
            prompt_ids=self.spec.prompt(request.language_id, prefix_ids, suffix_ids),
            canvas=TokenCanvas(token_ids, pinned=torch.zeros_like(token_ids, dtype=torch.bool)),
            truncated_tokens=truncated,
        )

    def read(self, prepared: Prepared, row_ids: Sequence[int]) -> Reading:
        """Read the gap's text; a character cut in the middle at its end is dropped. See :meth:`Format.read`."""
        gap_ids, closed = self.spec.gap(row_ids)
        return Reading(
            fills=("".join(self._texts(gap_ids)),),
            scored=range(len(gap_ids) + closed),
            finish_reason=FinishReason.GAP_END if closed else FinishReason.LENGTH,
        )

    def pieces(self, row_ids: Sequence[int]) -> list[str]:
        """The text of each position; a character of several tokens stands where it is complete."""
        return self._texts(row_ids)

    def decisive(self, token_ids: torch.Tensor) -> torch.Tensor:
        """The positions (B, C) bool that decide the fill: all up to the first control token. See :class:`Format`."""
        control = (token_ids < self.spec.noise_low) | (token_ids >= self.spec.noise_high)
        return control.cumsum(dim=-1) - control.long() == 0

    def _texts(self, token_ids: Sequence[int]) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        low, high = self.noise_range
        return [decoder.decode(self.token_bytes[token] if low <= token < high else b"") for token in token_ids]

    def _fit(self, prefix: str, suffix: str) -> tuple[list[int], list[int], int]:
        """Token ids of prefix and suffix within the budget, and how many tokens were cut from their far ends.

        When both are long the prefix gets two thirds; what one side does not need goes to the other. All cuts move in
        steps of a block, not with every key, so that the prompt keeps its opening and the prefix cache hits.
        """
        budget = self.spec.max_prompt_tokens - len(self.spec.prompt("", [], []))
        block = max(1, budget // 8)
        farthest = budget * _CHARACTERS_PER_TOKEN
        skipped = _up_to_block(max(0, len(prefix) - farthest), block * _CHARACTERS_PER_TOKEN)
        near_prefix, near_suffix = prefix[skipped:], suffix[:farthest]
        prefix_ids, suffix_ids = self._encode(near_prefix), self._encode(near_suffix)

        fits = len(prefix_ids) + len(suffix_ids) <= budget
        reserved = len(prefix_ids) if fits else min(_up_to_block(len(prefix_ids), block), budget * 2 // 3)
        kept_suffix = suffix_ids[: budget - reserved]
        excess = max(0, len(prefix_ids) - (budget - len(kept_suffix)))
        kept_prefix = prefix_ids[_up_to_block(excess, block) :]

        cut = len(prefix_ids) - len(kept_prefix) + len(suffix_ids) - len(kept_suffix)
        read, unread = len(near_prefix) + len(near_suffix), skipped + len(suffix) - len(near_suffix)
        if unread:  # an estimate: as many tokens per character as in what was read
            cut += round(unread * (len(prefix_ids) + len(suffix_ids)) / read)
        return kept_prefix, kept_suffix, cut

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _around_the_gap(request: InfillRequest) -> tuple[str, Masked, str]:
    gaps = [index for index, segment in enumerate(request.segments) if isinstance(segment, Masked)]
    if len(gaps) != 1:
        raise EngineError(
            f"the loaded checkpoint fills one gap at a time, but the request has {len(gaps)}; send one request per gap",
            ErrorCode.BAD_REQUEST,
        )
    (at,) = gaps
    gap = request.segments[at]
    assert isinstance(gap, Masked)
    return _text(request.segments[:at]), gap, _text(request.segments[at + 1 :])


def _text(segments: Sequence[Fixed | Masked]) -> str:
    return "".join(segment.text for segment in segments if isinstance(segment, Fixed))


def _up_to_block(length: int, block: int) -> int:
    return -(-length // block) * block


def _byte_alphabet() -> dict[str, int]:
    """The byte behind each character of a byte-level vocabulary: printable ones stand for themselves, the others for
    the code points from 256 on, in order (GPT-2's convention)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


_BYTES = _byte_alphabet()
