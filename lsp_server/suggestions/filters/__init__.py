"""What is done to a fill before anybody sees it. Each filter is pure and returns the text, or "" to drop it.

Fills have LF line ends here; :func:`lsp_server.suggestions.suggest.suggest` gives them the document's at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from inference.protocol import FinishReason
from lsp_server.suggestions.filters.balance import cut_unbalanced_closers, require_balance, require_syntax
from lsp_server.suggestions.filters.ending import cut_at_gap_end, cut_foreign, cut_unfinished, drop_too_long
from lsp_server.suggestions.filters.indentation import match_indentation, trim_trailing_space
from lsp_server.suggestions.filters.noise import drop_control_characters, require_substance
from lsp_server.suggestions.filters.overlap import drop_retyped_line, trim_suffix_overlap
from lsp_server.suggestions.filters.repetition import cut_loops
from lsp_server.suggestions.filters.seam import drop_repeated_marker, drop_retyped_prefix, mend_seam
from lsp_server.suggestions.site import Site

Filter = Callable[[str, Site], str]

FILTERS: Mapping[str, Filter] = {
    "noise": drop_control_characters,
    "repeats what stands before it": drop_retyped_prefix,
    "repeats a marker": drop_repeated_marker,
    "nothing but indentation": match_indentation,
    "misses a space": mend_seam,
    "belongs to another language": cut_foreign,
    "beyond the end of the gap": cut_at_gap_end,
    "repeats itself": cut_loops,
    "closes what it did not open": cut_unbalanced_closers,
    "repeats what follows": trim_suffix_overlap,
    "repeats the line above": drop_retyped_line,
    "nothing but white space": trim_trailing_space,
    "nothing but punctuation": require_substance,
    "longer than the gap may be": drop_too_long,
    "leaves a bracket or quote open": require_balance,
    "breaks the syntax": require_syntax,
}
"""In the order they apply; the name says why a fill that comes out empty was dropped."""


def check(text: str, site: Site, finish: FinishReason = FinishReason.GAP_END) -> tuple[str, str]:
    """The text as it may be shown, and "" ; or "" and why it may not. ``finish`` says why the model stopped."""
    site = site.inmost
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return "", "the model has nothing to add"
    text = cut_unfinished(text, site, finish)
    if not text.strip():
        return "", "cut off before anything was said in full"
    for reason, apply in FILTERS.items():
        text = apply(text, site)
        if not text:
            return "", reason
    return text, ""


__all__ = ["FILTERS", "Filter", "check"]
