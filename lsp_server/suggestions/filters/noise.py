"""Fills without content: noise, or nothing but punctuation."""

from __future__ import annotations

import re

from lsp_server.suggestions.site import Site

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffd\ud800-\udfff]")
_EMPTY_LITERALS = {"[]", "{}", "()", '""', "''", "``"}


def drop_control_characters(text: str, site: Site) -> str:
    """Text with NUL, other control characters or undecodable bytes is noise."""
    return "" if _CONTROL.search(text) else text


def require_substance(text: str, site: Site) -> str:
    """Only white space or punctuation is nothing; an empty literal is something."""
    bare = text.strip().rstrip(";,")
    return text if bare in _EMPTY_LITERALS or any(char.isalnum() for char in bare) else ""
