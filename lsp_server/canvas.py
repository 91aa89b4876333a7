"""From a gap and a window to segments: what the model sees. Pure; text is data, whatever it spells."""

from __future__ import annotations

import re

from inference.protocol import Fixed, Masked, Segment
from lsp_server.context.window import Window
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def segments(snapshot: DocumentSnapshot, gap: Gap, window: Window) -> tuple[Segment, ...]:
    """``Fixed(prefix), Masked, Fixed(suffix)``, other files' ``Fixed(snippets)`` first if there are any.

    Line ends are LF: the model has learnt no other.
    """
    prefix = _as_model_text(snapshot.text[window.start : gap.start], snapshot.line_ending)
    suffix = _as_model_text(window.suffix, snapshot.line_ending)
    snippets = (Fixed(_as_model_text(window.snippets, "\n")),) if window.snippets else ()
    return *snippets, Fixed(prefix), Masked(gap.max_tokens), Fixed(suffix)


def _as_model_text(text: str, line_ending: str) -> str:
    text = text.replace("\r\n", "\n")
    if line_ending == "\r":
        text = text.replace("\r", "\n")
    return _LONE_SURROGATE.sub("\ufffd", text)
