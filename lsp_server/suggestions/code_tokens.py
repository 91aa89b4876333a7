"""Brackets and open strings in a piece of code, which need not parse."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from lsp_server.syntax.languages import Language

PAIRS = {"(": ")", "[": "]", "{": "}"}
_WITH_TRIPLE_QUOTES = {"python", "toml"}
_WITH_QUOTED_WORDS = {"python", "javascript", "typescript", "tsx", "ruby", "php", "lua", "css"}
"""Where an apostrophe always begins a string; elsewhere it may be a lifetime, a letter or prose."""
_WITH_BACKTICKS = {"javascript", "typescript", "tsx", "go"}


@dataclass(frozen=True)
class CodeTokens:
    """``brackets`` are (place, character) outside of strings and comments; ``open_quote`` is what no quote closed."""

    brackets: tuple[tuple[int, str], ...]
    open_quote: str


def code_tokens(text: str, language: Language | None) -> CodeTokens:
    """Read ``text`` as code that begins outside of any string."""
    brackets: list[tuple[int, str]] = []
    open_quote = ""
    for match in _pattern(language).finditer(text):
        if match.lastgroup == "bracket":
            brackets.append((match.start(), match[0]))
        elif match.lastgroup == "open":
            open_quote = match["open"]
            if len(open_quote) == 3 or open_quote == "`":
                break
            open_quote = open_quote if "\n" not in text[match.end() :] else ""
    return CodeTokens(tuple(brackets), open_quote)


@cache
def _pattern(language: Language | None) -> re.Pattern[str]:
    name = language.name if language else ""
    comment = language.line_comment if language else ""
    parts = []
    if name in _WITH_TRIPLE_QUOTES:
        parts += [r'"""(?:\\.|[^\\])*?"""', r"'''(?:\\.|[^\\])*?'''"]
    if comment:
        # A word or a `$` before `#` or `-` makes it something else in shells and CSS selectors.
        parts.append(rf"(?<![\w$]){re.escape(comment)}[^\n]*")
    if comment == "//" or name in ("css", "sql"):
        parts.append(r"/\*.*?(?:\*/|\Z)")
    parts += [r'"(?:\\.|[^"\\\n])*"', r"'(?:\\.|[^'\\\n])*'"]
    if name in _WITH_BACKTICKS:
        parts.append(r"`(?:\\.|[^`\\])*`")
    opens = ['"""', "'''"] if name in _WITH_TRIPLE_QUOTES else []
    opens += [
        '"',
        *("'" if name in _WITH_QUOTED_WORDS or language is None else ""),
        *("`" if name in _WITH_BACKTICKS else ""),
    ]
    rest_of_line = r"(?:\\.|[^\n\\])*"
    unclosed = "|".join(re.escape(one) for one in opens)
    return re.compile(
        "|".join([*parts, rf"(?:(?P<open>{unclosed}){rest_of_line})", r"(?P<bracket>[()\[\]{}])"]), re.DOTALL
    )
