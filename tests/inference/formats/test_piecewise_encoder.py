"""Piece by piece is the same as at once, and what was seen is not tokenised again."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from inference.formats.piecewise_encoder import PIECE, PiecewiseEncoder, pieces
from tests.support.chat_checkpoint import write_chat_tokenizer

EMBEDDED = Path(__file__).parents[3] / "inference/default_model/tokenizer.json"
LINES = st.lists(
    st.sampled_from(
        ["for item in items:", "    print(item)  ", "\n", "\r\n", "\n\n\n", "\t", " ", "é🙂", ";", "x" * 90]
    ),
    max_size=400,
).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    return {
        "byte level": write_chat_tokenizer(tmp_path_factory.mktemp("chat")),
        "byte fallback": write_chat_tokenizer(tmp_path_factory.mktemp("fallback"), byte_fallback=True),
        "embedded": Tokenizer.from_file(str(EMBEDDED)),
    }


@pytest.mark.parametrize("name", ["byte level", "byte fallback", "embedded"])
@given(text=LINES)
@settings(max_examples=60, deadline=None)
def test_it_is_the_same_as_at_once(tokenizers: dict[str, Tokenizer], name: str, text: str) -> None:
    def at_once(text: str) -> list[int]:
        ids: list[int] = tokenizers[name].encode(text, add_special_tokens=False).ids
        return ids

    assert PiecewiseEncoder(at_once)(text) == at_once(text)


@given(text=LINES)
def test_pieces_end_with_lines(text: str) -> None:
    cut = pieces(text)
    assert "".join(cut) == text
    for piece, after in pairwise(cut):
        assert len(piece) >= PIECE
        assert not piece[-1].isspace()
        assert after.startswith(("\n", "\r\n"))


def test_typing_tokenises_the_last_piece_only() -> None:
    seen: list[str] = []
    encoder = PiecewiseEncoder(lambda text: seen.append(text) or [len(text)])
    text = "".join(f"for item in items_{number}:\n" for number in range(400))
    encoder(text)
    first, seen[:] = len(seen), []
    for typed in ("p", "pr", "print(", "print(x)\n"):
        assert sum(encoder(text + typed)) == len(text + typed)
    assert first > 5
    assert len(seen) == 4
    assert max(map(len, seen)) < 2 * PIECE
