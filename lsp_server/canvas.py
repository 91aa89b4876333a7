"""From a gap and a window to segments: what the model sees. Pure; text is data, whatever it spells."""

from __future__ import annotations

import re

from inference.protocol import Fixed, Masked, Segment
from lsp_server.context.window import Window
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def segments(snapshot: DocumentSnapshot, gap: Gap, window: Window, before: str = "") -> tuple[Segment, ...]:
    """``Fixed(prefix), Masked, Fixed(suffix)``, other files' ``Fixed(snippets)`` first if there are any.

    ``before`` is text above the document, part of the prefix where the window reaches up to it. Line ends are LF: the
    model has learnt no other.
    """
    prefix = as_model_text(snapshot.text[window.start : gap.start], snapshot.line_ending)
    if window.start == 0:
        prefix = as_model_text(before, "\n") + prefix
    suffix = as_model_text(window.suffix, snapshot.line_ending)
    snippets = (Fixed(as_model_text(window.snippets, "\n")),) if window.snippets else ()
    return *snippets, Fixed(prefix), Masked(gap.max_tokens), Fixed(suffix)


def as_model_text(text: str, line_ending: str) -> str:
    """Text as a model reads it: LF line ends, no lone surrogates."""
    text = text.replace("\r\n", "\n")
    if line_ending == "\r":
        text = text.replace("\r", "\n")
    return _LONE_SURROGATE.sub("\ufffd", text)
