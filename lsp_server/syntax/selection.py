"""The gap that a selection is: its text is to be rewritten."""

from __future__ import annotations

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.cursor import Cursor, indent_of
from lsp_server.syntax.enclosure import Bracket, enclosure
from lsp_server.syntax.gap import LIMITS, EndRule, Gap, GapKind
from lsp_server.syntax.trees import SyntaxTree

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_BUDGETS = (31, 63, 127, 255)
_CHARACTERS_PER_TOKEN = 3
_ROOM = 1.5
"""A rewritten text may be so much longer than what it replaces."""


def selection_gap(snapshot: DocumentSnapshot, start: int, end: int, tree: SyntaxTree | None) -> Gap:
    """The gap between the str offsets ``start`` and ``end``, in either order; it has text, so it is never None.

    Whole lines may become more lines, as deep as the first of them; a piece of a line stays on it. What the selected
    text closes but does not open, a fill has to close as well.
    """
    start, end = min(start, end), max(start, end)
    text = snapshot.text[start:end]
    first, last = Cursor(snapshot, start), Cursor(snapshot, end)
    spans_lines = "\n" in text or "\r" in text or not (first.before.strip() or last.after.strip())
    line = next((line for line in (first.before + text).splitlines() if line.strip()), first.before)
    bracket = _bracket_around(snapshot, start, end, tree)
    if not first.before.strip() and not last.after.strip():
        rule, closer = EndRule.DEDENT, ""
    elif bracket is not None:
        rule, closer = EndRule.CLOSER, bracket.closer
    else:
        rule, closer = (EndRule.DEDENT if spans_lines else EndRule.LINE), ""
    return Gap(
        kind=GapKind.SELECTION,
        start=start,
        end=end,
        end_rule=rule,
        may_span_lines=spans_lines,
        max_tokens=_budget(text, spans_lines),
        indent=indent_of(line),
        closer=closer,
        unclosed=_closes(text),
    )


def _bracket_around(snapshot: DocumentSnapshot, start: int, end: int, tree: SyntaxTree | None) -> Bracket | None:
    """The closed bracket that holds the whole selection, if it is one of an expression."""
    if tree is None:
        return None
    bracket = enclosure(tree, snapshot.lines.byte_offset(start)).bracket
    if bracket is None or bracket.is_block or bracket.end is None or bracket.closer not in ")]}":
        return None
    return bracket if bracket.end >= snapshot.lines.byte_offset(end) else None


def _budget(text: str, spans_lines: bool) -> int:
    limits = LIMITS[GapKind.SELECTION]
    most = limits.lines if spans_lines else limits.one_line
    wanted = len(text) / _CHARACTERS_PER_TOKEN * _ROOM
    return next((budget for budget in _BUDGETS if wanted <= budget <= most), most)


def _closes(text: str) -> str:
    """The closers in ``text`` that nothing in it has opened, innermost first."""
    opened: list[str] = []
    found = ""
    for char in text:
        if char in _PAIRS:
            opened.append(_PAIRS[char])
        elif opened and char == opened[-1]:
            opened.pop()
        elif char in ")]}" and not opened:
            found += char
    return found
