"""From a gap to segments: what the model sees before and after it. Pure; text is data, whatever it spells."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inference.protocol import Fixed, Masked, Segment
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap

_STEPS = 4
"""The window over a long prefix moves in steps of this fraction of the budget, never with each key."""

_BLOCK_START = re.compile(r"\n[ \t]*\n(?=\S)")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Budget:
    """How many characters of context may go to the model, before and after the gap."""

    prefix: int = 4000
    suffix: int = 1500


def segments(snapshot: DocumentSnapshot, gap: Gap, budget: Budget) -> tuple[Segment, ...]:
    """``Fixed(prefix), Masked, Fixed(suffix)``, with LF for line ends: the model has learnt no other."""
    prefix, suffix = context(snapshot, gap, budget)
    return Fixed(prefix), Masked(gap.max_tokens), Fixed(suffix)


def context(snapshot: DocumentSnapshot, gap: Gap, budget: Budget) -> tuple[str, str]:
    """The text before and after the gap that the model sees."""
    text = snapshot.text
    prefix = text[_prefix_start(text, gap.start, budget.prefix) : gap.start]
    suffix = text[gap.end : _suffix_end(text, gap.end, budget.suffix)]
    return _as_model_text(prefix, snapshot.line_ending), _as_model_text(suffix, snapshot.line_ending)


def _prefix_start(text: str, end: int, budget: int) -> int:
    """The next block, else the next line, behind a point that moves only every quarter of the budget."""
    if end <= budget:
        return 0
    step = max(1, budget // _STEPS)
    raw = -(-(end - budget) // step) * step
    limit = min(raw + step, end)
    if block := _BLOCK_START.search(text, raw - 1, limit):
        return block.end()
    line = max(text.find("\n", raw - 1, limit), -1)
    return line + 1 if line >= 0 else raw


def _suffix_end(text: str, start: int, budget: int) -> int:
    """Where to end: before the last block that does not fit, else after the last whole line."""
    if len(text) - start <= budget:
        return len(text)
    limit = start + budget
    blocks = [match.start() + 1 for match in _BLOCK_START.finditer(text, start + budget // 2, limit)]
    if blocks:
        return blocks[-1]
    line = text.rfind("\n", start, limit)
    return line + 1 if line >= 0 else limit


def _as_model_text(text: str, line_ending: str) -> str:
    text = text.replace("\r\n", "\n")
    if line_ending == "\r":
        text = text.replace("\r", "\n")
    return _LONE_SURROGATE.sub("\ufffd", text)
