"""Seeded damage done to the true text of a gap: what a model gets wrong, and no editor should show."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from inference.protocol import FinishReason
from lsp_server.syntax.cursor import CLOSERS, indent_of
from tests.benchmarks.cuts import Cut

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_BRACKETS = re.compile(r"[()\[\]{}]")
_STRINGS = re.compile(r"""\"(?:\\.|[^"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`[^`]*`|//.*|\#.*""")


@dataclass(frozen=True)
class Damaged:
    """A fill that should not be shown as it is."""

    text: str
    finish: FinishReason = FinishReason.GAP_END


Damage = Callable[[Cut, random.Random], Damaged | None]


def suffix_repeated(cut: Cut, _: random.Random) -> Damaged | None:
    """The truth, and then the first line that follows it."""
    after = cut.site.after.strip()
    if after:
        return Damaged(cut.truth + cut.site.after.rstrip()) if re.search(r"\w{3}", after) else None
    below = _line_below(cut)
    return Damaged(cut.truth + "\n" + below) if re.search(r"\w{3}", below) else None


def line_doubled(cut: Cut, _: random.Random) -> Damaged | None:
    """The truth with its last line twice."""
    last = (_full_indent(cut) + cut.truth).split("\n")[-1]
    return Damaged(cut.truth + "\n" + last) if re.search(r"\w{4}.*\W", last) and _is_stable(cut) else None


def closer_dropped(cut: Cut, _: random.Random) -> Damaged | None:
    """The truth, balanced in itself, without its last closer."""
    balance = _balance(cut.truth)
    if not cut.site.is_code or balance is None or balance or _mixes_text(cut):
        return None
    places = [m.start() for m in re.finditer(r"[)\]}]", _bare(cut.truth))]
    return Damaged(cut.truth[: places[-1]] + cut.truth[places[-1] + 1 :]) if places else None


def closer_added(cut: Cut, rng: random.Random) -> Damaged | None:
    """The truth, balanced in itself, and a closer that nothing has opened."""
    if not cut.site.is_code or cut.site.gap.unclosed or _balance(cut.truth) or _mixes_text(cut):
        return None
    return Damaged(cut.truth + rng.choice(CLOSERS))


def quote_added(cut: Cut, _: random.Random) -> Damaged | None:
    """The truth and a quote that nothing closes."""
    return Damaged(cut.truth + '"') if cut.site.is_code and not _mixes_text(cut) and '"' not in cut.site.after else None


def shifted_by_one(cut: Cut, _: random.Random) -> Damaged | None:
    """All lines but the first one space further right."""
    return _shift(cut, " ")


def shifted_by_a_unit(cut: Cut, _: random.Random) -> Damaged | None:
    """All lines but the first one level deeper."""
    return _shift(cut, cut.site.indent_unit)


def shifted_left(cut: Cut, _: random.Random) -> Damaged | None:
    """All lines but the first one space further left."""
    lines = cut.truth.split("\n")
    if not _first_line_decides(cut) or not all(line.startswith(" ") for line in lines[1:] if line):
        return None
    return Damaged("\n".join([lines[0], *(line[1:] for line in lines[1:])]))


def tabs_mixed(cut: Cut, _: random.Random) -> Damaged | None:
    """A level of the last line by the other kind of white space."""
    lines, unit = cut.truth.split("\n"), cut.site.indent_unit
    if not _first_line_decides(cut) or not lines[-1].startswith(unit):
        return None
    other = "    " if unit == "\t" else "\t"
    return Damaged("\n".join([*lines[:-1], other + lines[-1][len(unit) :]]))


def four_times(cut: Cut, _: random.Random) -> Damaged | None:
    """The truth four times."""
    if not re.search(r"\w{3}", cut.truth):
        return None
    between = "\n" + _full_indent(cut) if cut.site.gap.may_span_lines else " "
    return Damaged(between.join([cut.truth] * 4))


def trailing_space(cut: Cut, _: random.Random) -> Damaged | None:
    """White space at every line's end."""
    return None if cut.site.after[:1].strip() else Damaged(cut.truth.replace("\n", "  \n") + "  ")


def cut_in_a_word(cut: Cut, rng: random.Random) -> Damaged | None:
    """The truth up to the middle of one of its words, as the length limit cuts."""
    words = [m for m in re.finditer(r"\w{4,}", cut.truth) if m.start() >= len(cut.truth) // 3]
    if not words:
        return None
    word = rng.choice(words)
    return Damaged(cut.truth[: word.start() + 2], FinishReason.LENGTH)


def own_prefix_retyped(cut: Cut, _: random.Random) -> Damaged | None:
    """What stands left of the cursor on its line, and then the truth."""
    before = cut.site.before.lstrip()
    return Damaged(before + cut.truth) if len(before) >= 4 and re.search(r"\w{3}", before) else None


def line_above_retyped(cut: Cut, _: random.Random) -> Damaged | None:
    """The line above instead of the truth."""
    above = _above(cut)
    if cut.site.before.strip() or not cut.site.gap.may_span_lines or not re.search(r"\w{3}.*\W", above):
        return None
    return Damaged(above) if _is_stable(cut) and above != cut.truth.split("\n")[0].strip() else None


def lines_below_retyped(cut: Cut, _: random.Random) -> Damaged | None:
    """The two lines that follow instead of the truth."""
    text = cut.site.snapshot.text
    found = re.compile(r"\r?\n[ \t]*(\S.*?)\r?\n([ \t]*\S.*?)\r?\n").match(text, cut.site.gap.end)
    if not found or cut.site.before.strip() or not cut.site.gap.may_span_lines or not re.search(r"\w{3}", found[1]):
        return None
    return Damaged(found[1] + "\n" + found[2])


def space_doubled(cut: Cut, _: random.Random) -> Damaged | None:
    """A space where one stands already."""
    return Damaged(" " + cut.truth) if cut.site.before.endswith((" ", "\t")) else None


DAMAGES: list[Damage] = [
    suffix_repeated,
    line_doubled,
    closer_dropped,
    closer_added,
    quote_added,
    shifted_by_one,
    shifted_by_a_unit,
    shifted_left,
    tabs_mixed,
    four_times,
    trailing_space,
    cut_in_a_word,
    own_prefix_retyped,
    line_above_retyped,
    lines_below_retyped,
    space_doubled,
]


def _line_below(cut: Cut) -> str:
    found = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)(?:[ \t]*(?:\r\n|\n|\r))*([^\r\n]+)").match(
        cut.site.snapshot.text, cut.site.gap.end
    )
    return found[1].rstrip() if found else ""


def _above(cut: Cut) -> str:
    lines = re.split(r"\r\n|\n|\r", cut.site.snapshot.text[: cut.site.gap.start])[:-1]
    return lines[-1].strip() if lines else ""


def _full_indent(cut: Cut) -> str:
    return indent_of(cut.site.before + cut.truth)


def _is_stable(cut: Cut) -> bool:
    """Whether no line near the gap stands there twice in a row already: where it does, one more is no damage."""
    text = cut.site.snapshot.text
    near = [line.strip() for line in text[max(0, cut.site.gap.start - 400) : cut.site.gap.end + 400].splitlines()]
    return all(one != other or len(one) < 4 for one, other in pairwise(near))


def _bare(text: str) -> str:
    return _STRINGS.sub(lambda m: "_" * len(m[0]), text)


def _mixes_text(cut: Cut) -> bool:
    """Whether brackets and quotes here need not mean what they mean in code: prose, markup, strings over lines."""
    language = cut.language
    return language in ("markdown", "html", "yaml") or bool(re.search(r"[\"'`/#<>]", cut.truth + cut.site.before))


def _balance(text: str) -> str | None:
    """The openers left open; None where a closer comes first."""
    opened = ""
    for char in _BRACKETS.findall(_bare(text)):
        if char in _PAIRS:
            opened += char
        elif not opened or _PAIRS[opened[-1]] != char:
            return None
        else:
            opened = opened[:-1]
    return opened


def _first_line_decides(cut: Cut) -> bool:
    """Whether the first line says where the second must stand, in code without text over lines."""
    lines = cut.truth.split("\n")
    if len(lines) < 2 or not cut.site.is_code or re.search(r"\"\"\"|'''|`|/\*|^\s*\*", cut.truth):
        return False
    if cut.language == "html" or _balance(cut.truth) != "" or cut.site.before.strip() or not lines[1].strip():
        return False
    first = lines[0].rstrip()
    ends = (":", "{") if cut.language == "python" else ("{",)
    return first.endswith(ends) or (_balance(first) == "" and first.endswith((";", "}")))


def _shift(cut: Cut, by: str) -> Damaged | None:
    lines = cut.truth.split("\n")
    if not _first_line_decides(cut):
        return None
    return Damaged("\n".join([lines[0], *(by + line if line else line for line in lines[1:])]))
