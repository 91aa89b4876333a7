import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.positions import Encoding, LineIndex, utf8

# Every unit width, joiners and marks, all line ends, and what Python calls a line end but the LSP does not.
CHARACTERS = "aé€🎉\u0301\u200d👩\ud83d\0\t \n\r\x0b\x0c\x1c\x85\u2028"
TEXTS = st.text(st.sampled_from(CHARACTERS), max_size=40)
ENCODINGS = st.sampled_from(Encoding)


def inside_crlf(text: str, offset: int) -> bool:
    return text[offset - 1 : offset + 1] == "\r\n"


@given(TEXTS, ENCODINGS)
@settings(deadline=None)
def test_every_offset_survives_the_round_trip(text: str, encoding: Encoding) -> None:
    lines = LineIndex(text)
    for offset in range(len(text) + 1):
        if not inside_crlf(text, offset):
            assert lines.offset(*lines.position(offset, encoding), encoding) == offset


@given(TEXTS)
@settings(deadline=None)
def test_lines_are_the_protocols(text: str) -> None:
    lines = LineIndex(text)
    assert [lines.content(line) for line in range(len(lines))] == re.split(r"\r\n|\n|\r", text)


@given(TEXTS, ENCODINGS, st.integers(-2, 60), st.integers(-2, 200))
@settings(deadline=None)
def test_any_position_clamps_into_the_text(text: str, encoding: Encoding, line: int, character: int) -> None:
    lines = LineIndex(text)
    offset = lines.offset(line, character, encoding)
    assert 0 <= offset <= len(text)
    if 0 <= line < len(lines):
        assert lines.start(line) <= offset <= lines.end(line)


@given(TEXTS)
@settings(deadline=None)
def test_bytes_survive_the_round_trip(text: str) -> None:
    lines = LineIndex(text)
    for offset in range(len(text) + 1):
        assert lines.byte_offset(offset) == len(utf8(text[:offset]))
        assert lines.offset_of_byte(lines.byte_offset(offset)) == offset


@pytest.mark.parametrize(
    ("encoding", "character"), [(Encoding.UTF8, 5), (Encoding.UTF16, 3), (Encoding.UTF32, 2)], ids=str
)
def test_units_count_differently_behind_an_emoji(encoding: Encoding, character: int) -> None:
    lines = LineIndex("a🎉b\r\nc")
    assert lines.position(2, encoding) == (0, character)
    assert lines.offset(0, character, encoding) == 2
    assert lines.offset(0, 99, encoding) == 3
    assert lines.offset(1, 0, encoding) == 5
    assert lines.offset(9, 0, encoding) == 6


@pytest.mark.parametrize("encoding", [Encoding.UTF8, Encoding.UTF16])
def test_a_position_inside_a_character_means_its_start(encoding: Encoding) -> None:
    assert LineIndex("a🎉b").offset(0, 2, encoding) == 1


def test_an_offset_within_crlf_is_the_line_s_end() -> None:
    assert LineIndex("ab\r\nc").position(3, Encoding.UTF16) == (0, 2)
