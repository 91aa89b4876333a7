"""Both kinds of tokenizer give back the bytes of any text; a third kind is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from inference.formats.token_bytes import TokenBytes


def byte_level() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({character: index for index, character in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Gemma's: spaces are ▁, what has no token is spelled in bytes."""
    tokens = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "\n", "<unk>"]
    model = models.BPE(
        {token: index for index, token in enumerate(tokens)}, [("▁", "a")], byte_fallback=True, unk_token="<unk>"
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


@pytest.mark.parametrize("tokenizer", [byte_level(), byte_fallback()], ids=["byte level", "byte fallback"])
@given(text=st.one_of(st.text(max_size=30), st.text("ab \n🙂é\r", max_size=30)))
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    text = text.replace("▁", "_")  # which such a tokenizer cannot tell from a space
    token_bytes = TokenBytes.read(tokenizer, [])
    token_ids = tokenizer.encode(text).ids
    assert token_bytes.text(token_ids) == text
    assert len(token_bytes.pieces(token_ids)) == len(token_ids)


def test_control_tokens_have_no_text() -> None:
    tokenizer = byte_level()
    (letter,) = tokenizer.encode("a").ids
    assert TokenBytes.read(tokenizer, [letter]).pieces([letter, 10_000, -1]) == ["", "", ""]


def test_an_added_token_that_is_no_control_token_is_spelled_as_it_is() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["\n\n é"])
    token_ids = tokenizer.encode("a\n\n éb").ids
    assert len(token_ids) == 3
    assert TokenBytes.read(tokenizer, []).text(token_ids) == "a\n\n éb"


def test_a_tokenizer_that_cannot_spell_any_text_is_refused() -> None:
    with pytest.raises(ValueError, match="byte-level tokenizer, or one with byte fallback"):
        TokenBytes.read(Tokenizer(models.WordLevel({"a": 0}, "a")), [])
