"""Where the fill meets what stands left of the cursor: spaces, markers, quotes and words must not stand there twice."""

from __future__ import annotations

import re

from lsp_server.suggestions.site import Site
from lsp_server.syntax.gap import GapKind

_MIN_RETYPED = 3
_MIN_PIECE = 12
_MIN_HALF_WORD = 8
_KEYWORDS = {"return", "yield", "await", "import", "raise", "elif", "while", "const", "typeof", "throw", "extends"}
_MAY_COME_TWICE = {"long"}
_WORDS = re.compile(r"\w+|[^\w\s]")
_LAST_WORD = re.compile(r"[A-Za-z_]\w*$")


def drop_retyped_prefix(text: str, site: Site) -> str:
    """A fill that begins with what stands before the cursor on its line goes on behind that."""
    before = site.before.lstrip()
    start = text.lstrip(" \t") if site.before.endswith((" ", "\t")) or not before.strip() else text
    for piece in _retypable(before, is_code=site.is_code):
        rest = start[len(piece) :]
        if start.rstrip() == piece and len(piece) >= _MIN_PIECE:
            return ""
        joins_words = rest and _is_word(piece[-1]) and _is_word(rest[0])
        if start.startswith(piece) and rest.strip() and (not joins_words or len(piece) >= _MIN_HALF_WORD):
            return rest.lstrip(" \t") if site.before.endswith((" ", "\t")) else rest
    return text


def drop_repeated_marker(text: str, site: Site) -> str:
    """A comment that has begun does not begin again, nor does a string."""
    language, before = site.language, site.before.rstrip()
    if site.gap.kind is GapKind.COMMENT and language:
        for marker in ("/**", "/*", language.line_comment):
            if marker and before.endswith(marker) and text.lstrip().startswith(marker):
                return text.lstrip()[len(marker) :]
        return text
    if site.gap.kind is GapKind.STRING and site.gap.closer and site.before.endswith(site.gap.closer):
        return text.removeprefix(site.gap.closer)
    quote = site.before[-1:]
    begins = site.is_code and quote in ('"', "'") and site.tokens("").open_quote == quote
    if begins and re.match(rf"{quote}(?!{quote}).*{quote}", text):
        return text[1:]
    return text


def mend_seam(text: str, site: Site) -> str:
    """One space at the seam: none twice, and one behind a keyword, `=` or comma that has none."""
    if site.before.endswith((" ", "\t")) or not site.before:
        return text
    if not site.is_code or not text[:1].strip() or not site.before.strip():
        return text
    word = _LAST_WORD.search(site.before)
    if word and word[0] in _KEYWORDS and _is_word(text[0]):
        glued = word[0] + re.match(r"\w+", text)[0]  # type: ignore[index]
        return text if glued in site.snapshot.text else " " + text
    if site.before.endswith(" =") and text[0] not in "=>~" and site.language:
        return " " + text
    return text


def _retypable(before: str, *, is_code: bool) -> list[str]:
    """Pieces that end at the cursor and tell enough not to be repeated by chance, the longest first."""
    whole = before.strip()
    if len(whole) < _MIN_RETYPED or not re.search(r"[^\W\d]{2}", whole):
        return []
    starts = [match.start() for match in _WORDS.finditer(before)][1:]
    pieces = [before[start:] for start in starts if len(before) - start >= _MIN_PIECE]
    pieces = [piece for piece in pieces if re.search(r"[^\W\d]{2}", piece) and re.search(r"\W", piece.strip())]
    if re.search(r"\W", whole):
        return [before, before.rstrip(), *pieces]
    return [before, *pieces] if is_code and whole not in _MAY_COME_TWICE else pieces


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
