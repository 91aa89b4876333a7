"""What is done to a fill before anybody sees it. Each filter is pure and returns the text, or "" to drop it.

Fills have LF line ends here; :func:`lsp_server.suggestions.suggest.suggest` gives them the document's at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lsp_server.positions import utf8
from lsp_server.suggestions.site import Site
from lsp_server.syntax.cursor import CLOSERS, indent_of
from lsp_server.syntax.gaps import EndRule, GapKind
from lsp_server.syntax.languages import MARKDOWN, language_of
from lsp_server.syntax.trees import parse

Filter = Callable[[str, Site], str]

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffd\ud800-\udfff]")
_LOOP = re.compile(r"(.{2,60}?)\1{4,}", re.DOTALL)
_EMPTY_LITERALS = {"[]", "{}", "()", '""', "''", "``"}
_MIN_OVERLAP = 3


def drop_control_characters(text: str, site: Site) -> str:
    """Text with NUL, other control characters or undecodable bytes is noise."""
    return "" if _CONTROL.search(text) else text


def match_indentation(text: str, site: Site) -> str:
    """Indent as the document does, and begin where the cursor stands: no second space, no second indentation."""
    if not site.is_code and site.gap.kind is not GapKind.COMMENT:
        return text.lstrip(" \t") if site.before.endswith((" ", "\t")) else text
    lines = text.split("\n")
    if site.is_on_blank_line:
        lines = text.lstrip().split("\n")
        missing = site.gap.indent[len(site.before) :] if site.gap.indent.startswith(site.before) else ""
        lines[0] = missing + lines[0] if lines[0] else ""
    elif site.before.endswith((" ", "\t")):
        lines[0] = lines[0].lstrip(" \t")
    style = "\t" if "\t" in site.gap.indent else site.snapshot.indent_unit
    return "\n".join([lines[0], *(_reindented(line, style) for line in lines[1:])])


def cut_at_gap_end(text: str, site: Site) -> str:
    """Keep what lies within the gap: one line, up to the closing quote, down to the dedent or the blank line."""
    gap = site.gap
    if not gap.may_span_lines:
        text = text.split("\n", 1)[0]
    if gap.end_rule is EndRule.CLOSER and gap.closer not in CLOSERS:
        text = text[: _first_unescaped(text, gap.closer)]
    if gap.end_rule in (EndRule.DEDENT, EndRule.STATEMENT):
        text = _cut_at_dedent(text, site)
    if gap.end_rule in (EndRule.STATEMENT, EndRule.PARAGRAPH):
        text = text[: _first_blank_line(text)]
    if site.is_code and language_of(site.snapshot.language_id, site.snapshot.uri) == MARKDOWN:
        text = re.split(r"^[ \t]*(?:```|~~~)", text, maxsplit=1, flags=re.MULTILINE)[0]
    return text


def cut_unbalanced_closers(text: str, site: Site) -> str:
    """Cut before the first closer that neither the fill nor an unclosed bracket before the gap has opened."""
    if not site.is_code:
        return text
    expected = list(reversed(site.gap.unclosed))
    for index, char in site.code(text):
        if char in _PAIRS:
            expected.append(_PAIRS[char])
        elif char in CLOSERS and (not expected or expected.pop() != char):
            return text[:index]
    return text


def trim_suffix_overlap(text: str, site: Site) -> str:
    """Trim an end that repeats what stands right of the gap already, or the lines below it."""
    after = site.after.strip()
    body = text.rstrip()
    for length in range(min(len(after), len(body)), 0, -1):
        if body.endswith(after[:length]) and _is_repetition(body, after, length, site):
            return body[:-length].rstrip()
    if after or site.gap.kind not in (GapKind.BLOCK, GapKind.STATEMENT, GapKind.PARAGRAPH):
        return text
    lines = text.split("\n")
    for count in range(min(len(lines), len(site.lines_below), 5), 0, -1):
        tail = [line.strip() for line in lines[-count:]]
        if tail == site.lines_below[:count] and any(len(line) >= _MIN_OVERLAP for line in tail):
            return "\n".join(lines[:-count])
    return text


def cut_loops(text: str, site: Site) -> str:
    """Cut where the text begins to repeat itself over and over; a loop from the start on is dropped."""
    for loop in _LOOP.finditer(text):
        if len(set(loop[1])) > 1:
            return text[: loop.end(1)] if loop.start() > len(text) // 2 else ""
    lines = text.split("\n")
    for index in range(len(lines) - 2):
        line = lines[index].strip()
        if len(line) >= _MIN_OVERLAP and line == lines[index + 1].strip() == lines[index + 2].strip():
            return "\n".join(lines[: index + 1]) if index else ""
    return text


def trim_trailing_space(text: str, site: Site) -> str:
    """No white space at line ends; at the very end one space stays before a word that follows."""
    text = re.sub(r"[ \t]+(?=\n)", "", text)
    if not site.gap.may_span_lines and site.after[:1].isalnum() and text.endswith(" "):
        return text.rstrip() + " "
    return text.rstrip()


def require_substance(text: str, site: Site) -> str:
    """Only white space or punctuation is nothing; an empty literal is something."""
    bare = text.strip().rstrip(";,")
    return text if bare in _EMPTY_LITERALS or any(char.isalnum() for char in bare) else ""


def require_syntax(text: str, site: Site) -> str:
    """Drop text that breaks the syntax in more places than are broken now."""
    tree = site.tree
    if tree is None or tree.language == MARKDOWN or not text:
        return text
    start, end = (site.snapshot.lines.byte_offset(offset) - tree.start for offset in (site.gap.start, site.gap.end))
    after = parse(tree.language, tree.source[:start] + utf8(text) + tree.source[end:], tree)
    return "" if after is not None and after.errors() > tree.errors() else text


FILTERS: Mapping[str, Filter] = {
    "noise": drop_control_characters,
    "nothing but indentation": match_indentation,
    "beyond the end of the gap": cut_at_gap_end,
    "closes what it did not open": cut_unbalanced_closers,
    "repeats what follows": trim_suffix_overlap,
    "repeats itself": cut_loops,
    "nothing but white space": trim_trailing_space,
    "nothing but punctuation": require_substance,
    "breaks the syntax": require_syntax,
}
"""In the order they apply; the name says why a fill that comes out empty was dropped."""


def check(text: str, site: Site) -> tuple[str, str]:
    """The text as it may be shown, and "" ; or "" and why it may not."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return "", "the model has nothing to add"
    for reason, apply in FILTERS.items():
        text = apply(text, site)
        if not text:
            return "", reason
    return text, ""


def _reindented(line: str, style: str) -> str:
    lead = indent_of(line)
    if style == "\t" and " " in lead:
        lead = "\t" * (len(lead.expandtabs(4)) // (4 if len(lead.expandtabs(4)) % 4 == 0 else 2))
    elif style != "\t":
        lead = lead.replace("\t", style)
    return lead + line[len(indent_of(line)) :]


def _first_unescaped(text: str, closer: str) -> int:
    index = 0
    while index < len(text):
        if text.startswith(closer, index):
            return index
        index += 2 if text[index] == "\\" else 1
    return len(text)


def _cut_at_dedent(text: str, site: Site) -> str:
    lines = text.split("\n")
    closers = list(reversed(site.gap.unclosed))
    for number, line in enumerate(lines[1:], 1):
        bare = line.strip().rstrip(";,")
        if bare and not line.startswith(site.gap.indent):
            if closers and bare == closers[-1]:
                closers.pop()
                continue
            return "\n".join(lines[:number])
    return text


def _first_blank_line(text: str) -> int:
    match = re.search(r"(?<=\S)[ \t]*\n[ \t]*\n", text)
    return match.start() if match else len(text)


def _is_repetition(body: str, after: str, length: int, site: Site) -> bool:
    """Whether the last ``length`` characters are a repetition that can go without breaking a word or a pair."""
    piece = after[:length]
    if length < _MIN_OVERLAP and not all(char in ",;:." for char in piece):
        return False
    splits_word = _is_word(body[-length - 1 : -length]) and _is_word(piece[0])
    ends_in_word = _is_word(piece[-1]) and _is_word(after[length : length + 1])
    if splits_word or ends_in_word:
        return False
    return not site.is_code or _is_balanced(piece)


def _is_balanced(piece: str) -> bool:
    opened: list[str] = []
    for char in piece:
        if char in _PAIRS:
            opened.append(_PAIRS[char])
        elif char in CLOSERS and (not opened or opened.pop() != char):
            return False
    return not opened and all(piece.count(quote) % 2 == 0 for quote in "\"'`")


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
