"""Where a string's text begins and ends, and what ends it, in any of the grammars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

_RAW_CPP = re.compile(rb'(?:u8|[uUL])?R"([^()\\\s]{0,16})\(')
_LONG = re.compile(rb"\[(=*)\[")
_OPENER = re.compile(rb"[A-Za-z$@]{0,3}(#*)(\"{3,}|'{3}|[\"'`<])")
_HEREDOCS = frozenset({"heredoc_body", "heredoc", "nowdoc"})


def quotes(node: Node, source: bytes) -> tuple[int, int, str] | None:
    """Bytes where the text of a string node starts and ends, and its closer; None while it has no end."""
    count = node.child_count
    last = node.child(count - 1) if count else None
    if last is not None and last.is_missing:
        return None
    if node.type in _HEREDOCS:
        return _heredoc(node, source)
    found = _by_opener(source, node.start_byte)
    if found is None:
        first = node.child(0) if count > 1 else None
        if first is None or last is None:
            return None
        return first.end_byte, last.start_byte, source[last.start_byte : last.end_byte].decode("utf-8", "replace")
    start, closer = found
    end = node.end_byte - len(closer)
    if end < start or not source.startswith(closer, end):
        return None
    return start, end, closer.decode("utf-8", "replace")


def _by_opener(source: bytes, start: int) -> tuple[int, bytes] | None:
    if raw := _RAW_CPP.match(source, start):
        return raw.end(), b")" + raw[1] + b'"'
    if long := _LONG.match(source, start):
        return long.end(), b"]" + long[1] + b"]"
    if opener := _OPENER.match(source, start):
        quote = opener[2]
        # Six quotes are an empty text between three and three.
        length = 3 if set(quote) == {ord('"')} and len(quote) == 6 else len(quote)
        return opener.start(2) + length, (b">" if quote == b"<" else quote[:length]) + opener[1]
    return None


def _heredoc(node: Node, source: bytes) -> tuple[int, int, str] | None:
    ends = [child for child in node.children if child.type == "heredoc_end"]
    if ends:
        start, end = node.start_byte, ends[-1].start_byte
        closer = source[end : ends[-1].end_byte]
    else:
        start, end = node.start_byte, node.end_byte
        following = node.next_sibling
        closer = source[following.start_byte : following.end_byte] if following else b""
    return start, end, closer.decode("utf-8", "replace").strip()
