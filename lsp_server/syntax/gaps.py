"""The gap at the cursor: of what kind, where it may end, how its lines are indented."""

from __future__ import annotations

import re
from dataclasses import replace

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.blocks import closes_block, expected_indent, is_comment, opens_block
from lsp_server.syntax.cursor import Cursor, indent_of
from lsp_server.syntax.enclosure import Bracket, Enclosure, Text, enclosure, is_unwritten_body, plain_enclosure
from lsp_server.syntax.gap import LIMITS as LIMITS
from lsp_server.syntax.gap import TEXT_KINDS as TEXT_KINDS
from lsp_server.syntax.gap import EndRule as EndRule
from lsp_server.syntax.gap import Gap as Gap
from lsp_server.syntax.gap import GapKind as GapKind
from lsp_server.syntax.injections import Injection, injected_at
from lsp_server.syntax.languages import CPP, GO, MARKDOWN, PYTHON, Blocks, Language
from lsp_server.syntax.markdown import Prose, prose_at
from lsp_server.syntax.trees import INJECTED_LIMIT_S, LOCAL, SyntaxTree, parse

_NAMED = re.compile(r"(?:^|\s)(?:def|class|function|func|fn|interface|struct|enum|trait|module|impl|namespace)\s+$")
_ENDED = re.compile(r"[;}]\s*$")
_ENDED_BY_WORD = re.compile(r"(?:[;}]|\b(?:end|fi|done|esac))\s*$")
_ELEMENT_END = re.compile(r"\s*(</[\w:.-]*\s*>)")
_COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/|#[^\n]*", re.DOTALL)
_TEXT = {Text.STRING: GapKind.STRING, Text.COMMENT: GapKind.COMMENT, Text.DOCSTRING: GapKind.DOCSTRING}
_FLUSH_CASES = re.compile(r"^([ \t]*)switch\b[^\n]*\{[ \t]*\n\1(?:case|default)\b", re.MULTILINE)
_DEEP_NAMESPACE = re.compile(r"^([ \t]*)(?:inline )?namespace\b[^\n]*\{[ \t]*\n+\1[ \t]+\S", re.MULTILINE)
_SAMPLE = 20_000
"""Characters that are looked at to see how a document indents cases and namespaces."""

_BODY_LIMIT = 2_000
"""Characters of a body that are looked at to see whether it holds only comments."""


def find_gap(snapshot: DocumentSnapshot, offset: int, tree: SyntaxTree | None, *, invoked: bool = False) -> Gap | None:
    """The gap at ``offset``; None where a guess would only be in the way.

    Without a tree plain rules apply. ``invoked`` says that the user asked: then even a word half typed is a gap.
    """
    cursor = Cursor(snapshot, offset, tree.language.flush_left if tree else "")
    if tree is not None and (injection := injected_at(snapshot, offset, tree)):
        return _gap_in(snapshot, offset, injection, invoked)
    if tree is not None and tree.language == MARKDOWN:
        touches_fence = cursor.after.lstrip().startswith(("```", "~~~"))
        return None if touches_fence or (cursor.is_in_word and not invoked) else _prose_gap(cursor, prose_at(cursor))
    if cursor.is_in_word and not invoked:
        return None
    around = (
        enclosure(tree, snapshot.lines.byte_offset(offset)) if tree else plain_enclosure(cursor.before, cursor.after)
    )
    if around.text is not Text.NONE:
        return _text_gap(cursor, around, tree)
    if cursor.is_on_blank_line:
        return _blank_line_gap(cursor, around, tree)
    if cursor.is_within_word or (cursor.after.strip() and _NAMED.search(cursor.before)):
        return _gap(cursor, GapKind.IDENTIFIER, EndRule.WORD, False, indent_of(cursor.before))
    return _line_gap(cursor, around, tree, invoked)


def _body_indent(cursor: Cursor, bracket: Bracket, language: Language | None) -> str:
    """The indentation of an empty body, by the line on which its statement begins: a signature may take several."""
    lines, text = cursor.snapshot.lines, cursor.snapshot.text
    line = lines.content(lines.line_of(lines.offset_of_byte(bracket.owner)))
    owner = indent_of(line)
    flush = bracket.is_switch and (language == GO or _FLUSH_CASES.search(text, 0, _SAMPLE))
    if language == CPP and "namespace" in line:
        flush = not _DEEP_NAMESPACE.search(text, 0, _SAMPLE)
    deeper = cursor.before != owner and cursor.before.startswith(owner)
    if deeper or (flush and cursor.before == owner):
        return cursor.before
    return owner if flush else owner + cursor.snapshot.indent_unit


def _text_gap(cursor: Cursor, around: Enclosure, tree: SyntaxTree | None) -> Gap:
    kind = _TEXT[around.text]
    if kind is GapKind.STRING and (around.in_import or _imports(cursor, tree)):
        kind = GapKind.IMPORT
    unwritten = kind is GapKind.DOCSTRING and around.is_empty
    spans_lines = bool(around.closer) and (cursor.is_on_blank_line or unwritten)
    indent = expected_indent(cursor, None, opens=False) if cursor.is_on_blank_line else indent_of(cursor.before)
    return _gap(cursor, kind, EndRule.CLOSER if around.closer else EndRule.LINE, spans_lines, indent, around.closer)


def _blank_line_gap(cursor: Cursor, around: Enclosure, tree: SyntaxTree | None) -> Gap:
    language = tree.language if tree else None
    bracket = around.bracket
    if bracket and not bracket.is_block and bracket.end is not None:
        kind = GapKind.IMPORT if around.in_import else GapKind.BRACKET
        indent = expected_indent(cursor, language, opens=opens_bracket(cursor.above))
        return _gap(cursor, kind, EndRule.CLOSER, True, indent, bracket.closer)
    above, below = indent_of(cursor.above), indent_of(cursor.below)
    if bracket and _is_empty_body(cursor, bracket):
        indent = above if is_comment(cursor.above, language) else _body_indent(cursor, bracket, language)
        return _gap(cursor, GapKind.BLOCK, EndRule.DEDENT, True, indent, unclosed=around.unclosed)
    if bracket and bracket.end is not None and bracket.closer and not _text_to(cursor, bracket).strip() and below:
        return _gap(cursor, GapKind.STATEMENT, EndRule.STATEMENT, True, cursor.before or below)
    if opens_block(cursor.above, language):
        if cursor.below is not None and len(below) > len(above) and not closes_block(cursor.below, language):
            indent = max(cursor.before, below, key=len)
            return _gap(cursor, GapKind.STATEMENT, EndRule.STATEMENT, True, indent, unclosed=around.unclosed)
        indent = expected_indent(cursor, language, opens=True)
        return _gap(cursor, GapKind.BLOCK, EndRule.DEDENT, True, indent, unclosed=around.unclosed)
    if (tree and language == PYTHON and _continues_stub(cursor, tree)) or _follows_only_comments(cursor, language):
        return _gap(cursor, GapKind.BLOCK, EndRule.DEDENT, True, cursor.before or above)
    indent = expected_indent(cursor, language, opens=False)
    return _gap(cursor, GapKind.STATEMENT, EndRule.STATEMENT, True, indent, unclosed=around.unclosed)


def _line_gap(cursor: Cursor, around: Enclosure, tree: SyntaxTree | None, invoked: bool) -> Gap | None:
    language, bracket = tree.language if tree else None, around.bracket
    indent = indent_of(cursor.before)
    in_bracket = bracket is not None and not bracket.is_block
    is_last = not cursor.after.strip()
    if is_last and _opens_here(cursor, around, language) and not (in_bracket and bracket and bracket.end is not None):
        written = cursor.below is not None and len(indent_of(cursor.below)) > len(indent)
        if written and not invoked:
            return None
        indent += cursor.snapshot.indent_unit
        return _gap(cursor, GapKind.BLOCK, EndRule.DEDENT, True, indent, unclosed=around.unclosed)
    if not invoked and is_last and _ended(cursor.before, language):
        return None
    if language and language.blocks is Blocks.TAG and (gap := _tag_gap(cursor, around)):
        return gap
    is_import = around.in_import or _imports(cursor, tree)
    if is_last and not (in_bracket and _is_empty_over_lines(cursor, bracket)):
        kind = GapKind.IMPORT if is_import else GapKind.LINE_TAIL
        # A closer below may belong to this line's bracket or to another: within the line the fill may close it.
        if open_here := around.opened_on_line or plain_enclosure(cursor.before, cursor.after).unclosed:
            return _gap(cursor, kind, EndRule.LINE, False, indent, unclosed=open_here)
    if is_import:
        closer = bracket.closer if bracket and bracket.end is not None and in_bracket else ""
        return _gap(cursor, GapKind.IMPORT, EndRule.CLOSER if closer else EndRule.LINE, False, indent, closer)
    if (unclosed := around.unclosed) and cursor.after.lstrip().startswith(closer := _first(unclosed)):
        return _gap(cursor, GapKind.BRACKET, EndRule.CLOSER, False, indent, closer)
    if bracket and bracket.end is not None and (gap := _bracket_gap(cursor, bracket)):
        return gap
    kind = GapKind.LINE_TAIL if cursor.is_at_line_tail else GapKind.INLINE
    return _gap(cursor, kind, EndRule.LINE, False, indent, unclosed=around.unclosed)


def _first(unclosed: str) -> str:
    """The first closer: brackets that are doubled close together."""
    return unclosed[:2] if unclosed.startswith(("]]", "))")) else unclosed[:1]


def _bracket_gap(cursor: Cursor, bracket: Bracket) -> Gap | None:
    """The gap in a bracket that is closed; None where the line ends the gap first."""
    indent, between = indent_of(cursor.before), _between(cursor, bracket)
    over_lines = _is_empty_over_lines(cursor, bracket)
    if not bracket.is_block:
        indent += cursor.snapshot.indent_unit if over_lines else ""
        rule = EndRule.LINE if bracket.closer == ">" else EndRule.CLOSER
        return _gap(cursor, GapKind.BRACKET, rule, over_lines, indent, "" if bracket.closer == ">" else bracket.closer)
    if "\n" in between or "\r" in between or not bracket.closer:
        return None
    begins = cursor.before.rstrip().endswith((";", "{", ",", "|"))
    inline = GapKind.STATEMENT if begins else GapKind.LINE_TAIL if cursor.is_at_line_tail else GapKind.INLINE
    kind = inline if between.strip() else GapKind.BLOCK
    return _gap(cursor, kind, EndRule.CLOSER, False, indent, bracket.closer)


def _tag_gap(cursor: Cursor, around: Enclosure) -> Gap | None:
    indent = indent_of(cursor.before)
    if around.in_tag:
        return _gap(cursor, GapKind.BRACKET, EndRule.CLOSER, False, indent, ">")
    end = _ELEMENT_END.match(cursor.after)
    rule = EndRule.CLOSER if end else EndRule.LINE
    return _gap(cursor, GapKind.PARAGRAPH, rule, False, indent, end[1] if end else "")


def opens_bracket(line: str | None) -> bool:
    """Whether a line's last character opens a bracket."""
    return bool(line) and (line or "").rstrip().endswith(("(", "[", "{", "<", ":"))


def _opens_here(cursor: Cursor, around: Enclosure, language: Language | None) -> bool:
    """Whether a block begins right at the cursor, at its line's end; who typed a space wants to stay on the line."""
    if language is None or cursor.before.endswith((" ", "\t")):
        return False
    bracket = around.bracket
    if bracket and bracket.is_block and bracket.closer == "}" and not _text_to(cursor, bracket).strip():
        return True
    return opens_block(cursor.before, language)


def _ended(before: str, language: Language | None) -> bool:
    """Whether the statement on this line is complete."""
    by_word = language is not None and language.blocks is Blocks.WORD
    return bool((_ENDED_BY_WORD if by_word else _ENDED).search(before))


def _is_empty_over_lines(cursor: Cursor, bracket: Bracket | None) -> bool:
    """Whether the bracket around the cursor, at its line's end, holds nothing and is closed on a later line."""
    if bracket is None or bracket.end is None or cursor.after.strip():
        return False
    between = _between(cursor, bracket)
    return not between.strip() and ("\n" in between or "\r" in between)


def _is_empty_body(cursor: Cursor, bracket: Bracket) -> bool:
    """Whether the braces around the cursor hold nothing yet, or nothing but comments."""
    if not bracket.is_block or not bracket.closer or bracket.end is None:
        return False
    between = _between(cursor, bracket)
    return len(between) <= _BODY_LIMIT and not _COMMENTS.sub("", between).strip()


def _between(cursor: Cursor, bracket: Bracket) -> str:
    lines = cursor.snapshot.lines
    start = lines.offset_of_byte(bracket.start)
    end = lines.offset_of_byte(bracket.end) if bracket.end is not None else cursor.offset
    return cursor.snapshot.text[start:end]


def _text_to(cursor: Cursor, bracket: Bracket) -> str:
    return cursor.snapshot.text[cursor.snapshot.lines.offset_of_byte(bracket.start) : cursor.offset]


def _continues_stub(cursor: Cursor, tree: SyntaxTree) -> bool:
    level = indent_of(cursor.above)
    written_below = cursor.below is not None and len(indent_of(cursor.below)) >= len(level)
    if not level or written_below or cursor.before not in ("", level):
        return False
    return is_unwritten_body(tree, cursor.snapshot.lines.byte_offset(cursor.offset))


def _follows_only_comments(cursor: Cursor, language: Language | None) -> bool:
    """Whether a block begun above holds only line comments, and ends right below (where words do that)."""
    if language is None or language.blocks is not Blocks.WORD or not is_comment(cursor.above, language):
        return False
    opener = cursor.code_above(language.line_comment)
    deeper = len(indent_of(cursor.above)) > len(indent_of(opener))
    return deeper and opens_block(opener, language) and closes_block(cursor.below, language)


def _imports(cursor: Cursor, tree: SyntaxTree | None) -> bool:
    words = tree.language.import_words if tree else ()
    first = cursor.before.split(None, 1)
    return bool(first) and first[0] in words and not re.match(r"\s*\S+\s*\(\s*\w+\s", cursor.before)


def _gap_in(snapshot: DocumentSnapshot, offset: int, inner: Injection, invoked: bool) -> Gap | None:
    """The gap in a piece of another language."""
    if not inner.start <= offset <= inner.end:
        return None
    name = inner.language.name if inner.language else ""
    piece = DocumentSnapshot(f"{snapshot.uri}#code", snapshot.version, name, inner.text)
    known = inner.language if inner.language != MARKDOWN and len(inner.text) <= LOCAL else None
    tree = parse(known, utf8(inner.text), limit_s=INJECTED_LIMIT_S) if known else None
    gap = find_gap(piece, offset - inner.start, tree, invoked=invoked)
    return gap and replace(gap, start=gap.start + inner.start, end=gap.end + inner.start)


_PROSE_KINDS = {
    Prose.HEADING: GapKind.HEADING,
    Prose.LIST_ITEM: GapKind.LIST_ITEM,
    Prose.PARAGRAPH: GapKind.PARAGRAPH,
    Prose.TABLE: GapKind.LINE_TAIL,
}


def _prose_gap(cursor: Cursor, prose: Prose) -> Gap:
    if cursor.after.strip():
        return _gap(cursor, GapKind.INLINE, EndRule.LINE, False, indent_of(cursor.before))
    next_line = cursor.snapshot.lines.content(cursor.line + 1)
    spans_lines = prose is Prose.PARAGRAPH and not next_line.strip() and not cursor.before.lstrip().startswith(">")
    end = EndRule.PARAGRAPH if spans_lines else EndRule.LINE
    return _gap(cursor, _PROSE_KINDS[prose], end, spans_lines, indent_of(cursor.before))


def _gap(
    cursor: Cursor,
    kind: GapKind,
    end_rule: EndRule,
    may_span_lines: bool,
    indent: str,
    closer: str = "",
    unclosed: str = "",
) -> Gap:
    limits = LIMITS[kind]
    return Gap(
        kind=kind,
        start=cursor.offset,
        end=cursor.offset,
        end_rule=end_rule,
        may_span_lines=may_span_lines,
        max_tokens=limits.lines if may_span_lines and limits.lines else limits.one_line,
        indent=indent,
        closer=closer,
        unclosed=unclosed,
    )
