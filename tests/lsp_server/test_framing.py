"""Messages come out whole however the bytes were cut, and a reader finds back after rubbish."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lsp_server.framing import MAX_BODY_BYTES, MAX_HEADER_BYTES, Framing, FramingError


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.binary(max_size=80), max_size=5), st.lists(st.integers(0, 10_000), max_size=10))
def test_any_cut_gives_the_same_bodies(bodies: list[bytes], places: list[int]) -> None:
    framing = Framing()
    stream = b"".join(map(framed, bodies))
    assert [body for piece in cut(stream, places) for body in framing.feed(piece)] == bodies


def test_other_headers_and_other_ways_to_write_it() -> None:
    header = b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-length:2 \r\n\r\n{}"
    assert list(Framing().feed(header)) == [b"{}"]


def test_rubbish_is_skipped_and_the_next_message_read() -> None:
    framing = Framing()
    assert list(framing.feed(b"printed by mistake\n" + framed(b"{}"))) == [b"{}"]
    assert list(framing.feed(b'{"no": "header"}' + framed(b"[]"))) == [b"[]"]
    error, body = framing.feed(b"Content-Length: many\r\n\r\n" + framed(b"{}"))
    assert isinstance(error, FramingError)
    assert body == b"{}"


def test_nothing_grows_without_bound() -> None:
    framing = Framing()
    assert any(isinstance(one, FramingError) for one in framing.feed(b"x" * (MAX_HEADER_BYTES + 1)))
    assert len(framing._buffer) <= MAX_HEADER_BYTES
    (error,) = Framing().feed(b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
    assert isinstance(error, FramingError)
