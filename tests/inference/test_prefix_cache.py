"""Encoded prompts: the longest shared prefix is found, documents stay apart, bounds hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.prefix_cache import PrefixCache, shared_length

IDS = st.lists(st.integers(0, 2), max_size=12)


def kept(*prompts: str, max_bytes: int = 1000, max_entries: int = 8) -> PrefixCache:
    """A cache of prompts whose tokens are characters and whose size is their length."""
    cache = PrefixCache(max_bytes, max_entries)
    for prompt in prompts:
        cache.keep([ord(c) for c in prompt], prompt, len(prompt))
    return cache


def found(cache: PrefixCache, prompt: str) -> tuple[str | None, int]:
    return cache.longest_shared([ord(c) for c in prompt])


@given(IDS, IDS)
def test_shared_length(one: list[int], other: list[int]) -> None:
    length = shared_length(one, other)
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]


@given(st.lists(IDS, max_size=6), IDS)
def test_no_kept_prompt_shares_more(prompts: list[list[int]], wanted: list[int]) -> None:
    cache = PrefixCache(1000)
    for prompt in prompts:
        cache.keep(prompt, tuple(prompt), len(prompt))
    entry, length = cache.longest_shared(wanted)
    others = [list(kept.prompt) for kept in cache._entries]
    assert length == max((shared_length(other, wanted) for other in others), default=0)
    assert (entry is None) == (length == 0)
    assert entry is None or list(entry)[:length] == wanted[:length]


def test_the_longest_prefix_wins() -> None:
    cache = kept("header-a", "header-bc1234567890", "other")
    assert found(cache, "header-bcd") == ("header-bc1234567890", 9)
    assert found(cache, "header-ax") == ("header-a", 8)
    assert found(cache, "xyz") == (None, 0)


def test_the_same_document_is_replaced() -> None:
    assert len(cache := kept("abcdef", "abcdefg", "abcdefX", "abcd")) == 1
    assert found(cache, "abcdef") == ("abcd", 4)


def test_a_prompt_that_grows_piece_by_piece_is_kept_once() -> None:
    cache = kept("ab", "abcdef", "abcdefghijklmnop")
    assert (len(cache), cache.size) == (1, 16)
    assert found(cache, "abX") == ("abcdefghijklmnop", 2)


@given(st.lists(IDS, max_size=6))
def test_no_kept_prompt_is_the_beginning_of_a_later_one(prompts: list[list[int]]) -> None:
    cache = PrefixCache(1000)
    for prompt in prompts:
        cache.keep(prompt, tuple(prompt), len(prompt))
    ids = [list(entry.prompt) for entry in cache._entries]
    assert not [one for index, one in enumerate(ids) for later in ids[index + 1 :] if later[: len(one)] == one]
    assert not prompts or ids[-1] == prompts[-1]


def test_documents_that_share_their_opening_both_stay() -> None:
    cache = kept("open1", "open234567")
    assert len(cache) == 2
    assert (found(cache, "open1"), found(cache, "open23")) == (("open1", 5), ("open234567", 6))


def test_the_least_recent_goes_first() -> None:
    cache = kept("a1", "b1", "a1x", "c1", max_entries=2)
    assert [found(cache, prompt)[0] for prompt in ("a", "b", "c")] == ["a1x", None, "c1"]


def test_the_bound_in_bytes_holds() -> None:
    cache = kept("aaaa", "bbbb", "cccc", max_bytes=9)
    assert (len(cache), cache.size) == (2, 8)
    assert found(cache, "a") == (None, 0)


def test_one_that_is_too_large_drives_out_no_other() -> None:
    cache = kept("aaaa", "b" * 10, max_bytes=9)
    assert (found(cache, "a"), found(cache, "b")) == (("aaaa", 1), (None, 0))


@pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"max_entries": 0}])
def test_nothing_is_kept_without_room(bounds: dict[str, int]) -> None:
    assert len(kept("a", "b", **bounds)) == 0


def test_clear() -> None:
    cache = kept("a", "b")
    cache.clear()
    assert (len(cache), cache.size, found(cache, "a")) == (0, 0, (None, 0))
