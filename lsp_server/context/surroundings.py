"""All that a window knows beside the document itself, as one request may use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lsp_server.history import RecentEdit
from lsp_server.snapshot import DocumentSnapshot


@dataclass(frozen=True)
class Surroundings:
    """``others`` are the other open documents and ``nearby`` files of the project on disk, each the likeliest to matter
    first; ``edits`` what the user did last, newest first; ``diagnostics`` what compilers say of the gap; ``before``
    what stands above the document in its notebook. Nothing excluded is among them.
    """

    others: Iterable[DocumentSnapshot] = ()
    nearby: Iterable[DocumentSnapshot] = ()
    edits: tuple[RecentEdit, ...] = ()
    diagnostics: tuple[str, ...] = ()
    before: str = ""
