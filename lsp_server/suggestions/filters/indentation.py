"""White space at both ends of a fill's lines: as the document has it."""

from __future__ import annotations

import re

from lsp_server.suggestions.site import Site
from lsp_server.syntax.cursor import CLOSERS, indent_of
from lsp_server.syntax.gap import EndRule, GapKind
from lsp_server.syntax.languages import Blocks

_BEGINS_A_STATEMENT = re.compile(r"[\w$@#/\"'`]")


def match_indentation(text: str, site: Site) -> str:
    """Indent as the document does, and begin where the cursor stands: no second space, no second indentation."""
    if not site.is_code and site.gap.kind is not GapKind.COMMENT:
        return text.lstrip(" \t") if site.before.endswith((" ", "\t")) else text
    lines = text.split("\n")
    if site.is_on_blank_line:
        lines = text.lstrip().split("\n")
        fits = site.gap.indent.startswith(site.before) and lines[0][:1] not in CLOSERS
        missing = site.gap.indent[len(site.before) :] if fits else ""
        lines[0] = missing + lines[0] if lines[0] else ""
    elif site.before.endswith((" ", "\t")):
        lines[0] = lines[0].lstrip(" \t")
    if len(lines) == 1:
        return lines[0]
    style = "\t" if "\t" in site.gap.indent else site.indent_unit
    lines[1:] = [_restyled(line, style, site.gap.indent) for line in lines[1:]]
    if site.is_code and (shift := _shift(lines, site)):
        lines[1:] = [_shifted(line, shift) for line in lines[1:]]
    return "\n".join(lines)


def trim_trailing_space(text: str, site: Site) -> str:
    """No white space at line ends; at the very end one space stays before a word that follows."""
    text = re.sub(r"[ \t]+(?=\n)", "", text)
    if not site.gap.may_span_lines and site.after[:1].isalnum() and text.endswith(" "):
        return text.rstrip() + " "
    return text.rstrip()


def _restyled(line: str, style: str, indent: str) -> str:
    """The line with its indentation in the document's white space; alignment behind tabs stays."""
    lead = indent_of(line)
    if style == "\t" and " " in lead.removeprefix(indent):
        rest = lead.removeprefix(indent) if indent and lead.startswith(indent) else lead
        if len(rest) == len(lead) or rest.startswith("    "):
            width = len(lead.expandtabs(4))
            lead = "\t" * (width // 4) if width % 4 == 0 else "\t" * (width // 2) if "\t" not in lead else lead
    elif style != "\t":
        lead = lead.replace("\t", style)
    return lead + line[len(indent_of(line)) :]


def _shift(lines: list[str], site: Site) -> int:
    """By how many characters all lines but the first are off; 0 where the first line does not decide it."""
    first, second = lines[0].rstrip(), next((line for line in lines[1:] if line.strip()), "")
    chains = site.language is not None and bool(site.language.functions) and not first.endswith(";")
    if not second.strip() or (chains and not _BEGINS_A_STATEMENT.match(second.strip())):
        return 0
    if site.language is None or site.language.blocks is Blocks.TAG or ("/*" in first and "*/" not in first):
        return 0
    tokens = site.tokens(lines[0])
    if tokens.open_quote:
        return 0
    opened = sum(1 if char in "([{" else -1 for _, char in tokens.brackets)
    unit, indent, found = site.indent_unit, site.gap.indent, len(indent_of(second))
    if "\t" in indent_of(second) and unit != "\t":
        return 0
    python = site.language is not None and site.language.blocks is Blocks.COLON
    opens = (first.endswith("{") and opened > 0) or (python and first.endswith(":") and opened == 0)
    if opens and not site.before.strip():
        expected = len(indent) + len(unit)
        wrong = found <= len(indent) or (found - expected) % len(unit) or found == expected + len(unit)
        return expected - found if wrong else 0
    if not first.strip() and site.gap.kind is GapKind.BLOCK:
        return len(indent) - found if found > len(indent) or (len(indent) - found) % len(unit) else 0
    ends = (python and opened == 0 and not first.endswith("\\")) or (opened == 0 and first.endswith((";", "}")))
    if not ends or site.before.strip() or site.gap.end_rule not in (EndRule.STATEMENT, EndRule.DEDENT):
        return 0
    off = len(indent) - found
    return off if off < 0 or off % len(unit) else 0


def _shifted(line: str, by: int) -> str:
    lead = indent_of(line)
    if not line.strip():
        return line
    return (lead + (lead[-1:] or " ") * by if by > 0 else lead[: max(0, len(lead) + by)]) + line[len(lead) :]
