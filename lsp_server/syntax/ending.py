"""Where a fill of a gap must end: how much of a text the gap's rules admit."""

from __future__ import annotations

import re

from lsp_server.syntax.gap import TEXT_KINDS, EndRule, Gap
from lsp_server.syntax.language import Language

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_LONG_QUOTES = ('"""', "'''", "`")
_HEREDOC = re.compile(r"<<[-~]?\s*([\"']?)([A-Za-z_]\w*)\1")


def admitted(text: str, gap: Gap, language: Language | None = None) -> int:
    """How many characters of ``text`` (line ends LF) a fill of ``gap`` may begin with, its budget aside.

    A blank line or a dedent ends a gap only outside of what the text itself has opened.
    """
    if not gap.may_span_lines:
        text = text[: _find(text, "\n")]
    if gap.end_rule is EndRule.WORD:
        return next((at for at, char in enumerate(text) if not (char.isalnum() or char == "_")), len(text))
    if gap.end_rule is EndRule.CLOSER and gap.closer not in ")]}":
        text = text[: _unescaped(text, gap.closer)]
    if gap.end_rule is EndRule.PARAGRAPH:
        text = text[: _find(text, "\n\n")]
    if gap.kind in TEXT_KINDS:
        return len(text)
    return _code_end(text, gap, language)


def _code_end(text: str, gap: Gap, language: Language | None) -> int:
    """Where code leaves the gap: a closer that it has not opened, a dedent, a blank line."""
    expected, opened = list(reversed(gap.unclosed)), 0
    comment = language.line_comment if language else ""
    ends_at_blank = gap.end_rule is EndRule.STATEMENT
    ends_at_dedent = gap.end_rule in (EndRule.DEDENT, EndRule.STATEMENT)
    index = 0
    while index < len(text):
        char = text[index]
        if char == "\n":
            line_end = index + 1 + _find(text[index + 1 :], "\n")
            line = text[index + 1 : line_end]
            blank_ends = ends_at_blank and not opened and not line.strip() and line_end < len(text)
            if blank_ends or (ends_at_dedent and not opened and _is_dedent(line, gap, expected, language)):
                return index
        elif comment and text.startswith(comment, index) and text[index - 1 : index] in ("", " ", "\t", "\n"):
            index += _find(text[index:], "\n") - 1
        elif skipped := _quoted(text, index):
            index += skipped - 1
        elif char in _PAIRS:
            expected.append(_PAIRS[char])
            opened += 1
        elif char in ")]}":
            if not expected or expected.pop() != char:
                return index
            opened = max(0, opened - 1)
        index += 1
    return len(text)


def _is_dedent(line: str, gap: Gap, expected: list[str], language: Language | None) -> bool:
    bare = line.strip().rstrip(";,")
    flush = language is not None and bool(language.flush_left) and line.startswith(language.flush_left)
    return bool(bare) and not line.startswith(gap.indent) and not flush and not (expected and bare == expected[-1])


def _quoted(text: str, index: int) -> int:
    """How many characters a string that begins at ``index`` takes; 0 where none begins."""
    for quote in _LONG_QUOTES:
        if text.startswith(quote, index):
            rest = text[index + len(quote) :]
            return min(len(text) - index, 2 * len(quote) + _unescaped(rest, quote))
    if text[index] in "\"'":
        rest = text[index + 1 : index + 1 + _find(text[index + 1 :], "\n")]
        end = _unescaped(rest, text[index])
        return end + 2 if end < len(rest) else 0
    if heredoc := _HEREDOC.match(text, index):
        last = re.compile(rf"^[ \t]*{heredoc[2]}\b", re.MULTILINE).search(text, heredoc.end())
        return last.end() - index if last else 0
    return 0


def _find(text: str, what: str) -> int:
    at = text.find(what)
    return at if at >= 0 else len(text)


def _unescaped(text: str, closer: str) -> int:
    index = 0
    while index < len(text):
        if text.startswith(closer, index):
            return index
        index += 2 if text[index] == "\\" else 1
    return len(text)
