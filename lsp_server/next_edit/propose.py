"""The next edit: the nearest place behind the last edit, then around from the top, where the same change applies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lsp_server.history import RecentEdit
from lsp_server.next_edit.change import Change, Rename, change_of, rename_of
from lsp_server.next_edit.renaming import renamed
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.trees import SyntaxTree

LAST_S = 120.0
"""An older edit is no longer what the user is at."""

_MOST_PLACES = 200


@dataclass(frozen=True)
class NextEdit:
    """Replace the str offsets ``start`` to ``end`` of the snapshot with ``text``; ``left`` more such places remain."""

    start: int
    end: int
    text: str
    left: int = 0


def next_edit(
    snapshot: DocumentSnapshot, tree: SyntaxTree | None, edits: Sequence[RecentEdit], offset: int, now: float
) -> NextEdit | None:
    """What to offer after ``edits`` of this document, newest first, with the cursor at ``offset``; None if nothing is
    plain. ``tree`` is of the whole document, ``now`` is the history's clock.
    """
    recent = [edit for edit in edits if now - edit.at <= LAST_S]
    if not recent or tree is None:
        return None
    if rename := _last_rename(recent):
        places = _renamed(snapshot, tree, rename, recent)
    elif change := _repeated(recent):
        places = _changed(snapshot, tree, change)
    else:
        return None
    return _nearest(places, offset)


def _last_rename(recent: Sequence[RecentEdit]) -> Rename | None:
    """The renaming that the last edit is, or went on with by giving both names where both are needed."""
    if rename := rename_of(recent[0]):
        return rename
    earlier = (rename for edit in recent[1:] if (rename := rename_of(edit)))
    return next((rename for rename in earlier if rename.is_spelt_out_by(recent[0])), None)


def _nearest(places: Sequence[NextEdit], offset: int) -> NextEdit | None:
    if not places or len(places) > _MOST_PLACES:
        return None
    return replace(next((place for place in places if place.start >= offset), places[0]), left=len(places) - 1)


def _renamed(
    snapshot: DocumentSnapshot, tree: SyntaxTree, rename: Rename, recent: Iterable[RecentEdit]
) -> list[NextEdit]:
    """Where the old name still means what the user renamed."""
    parts = [edit for edit in recent if rename_of(edit) == rename or rename.is_spelt_out_by(edit)]
    lines = {edit.line + extra for edit in parts for extra in range(_height(edit))}

    def offset(byte: int) -> int:
        return snapshot.lines.offset_of_byte(byte)

    places = renamed(tree, rename, lambda byte: snapshot.lines.line_of(offset(byte)) in lines)
    return [NextEdit(offset(place.start), offset(place.end), place.text) for place in places]


def _repeated(recent: Sequence[RecentEdit]) -> Change | None:
    """The change that the last two edits both are, in different lines."""
    if len(recent) < 2 or recent[0].line == recent[1].line:
        return None
    last, before = change_of(recent[0]), change_of(recent[1])
    if last is None or before is None:
        return None
    common = last.follows(before)
    return common if common is not None and common.is_telling else None


def _changed(snapshot: DocumentSnapshot, tree: SyntaxTree, change: Change) -> list[NextEdit]:
    """Where the pattern still stands, between whole tokens, not in a string or comment, and not already changed."""
    pattern = change.pattern
    words = re.compile(_boundary(pattern[:1], before=True) + re.escape(pattern) + _boundary(pattern[-1:], before=False))
    done = change.left + change.inserted + change.right
    places = []
    for match in words.finditer(snapshot.text):
        start = match.start() + len(change.left)
        already = pattern in done and snapshot.text.startswith(done, match.start() - done.index(pattern))
        if not already and _is_code(snapshot, tree, start):
            places.append(NextEdit(start, start + len(change.removed), change.inserted))
    return places


def _is_code(snapshot: DocumentSnapshot, tree: SyntaxTree, offset: int) -> bool:
    byte = snapshot.lines.byte_offset(offset) - tree.start
    node = tree.root.descendant_for_byte_range(byte, byte)
    while node is not None:
        if "comment" in node.type:
            return False
        if "string" in node.type and node.start_byte < byte < node.end_byte:
            return False
        node = node.parent
    return True


def _boundary(char: str, *, before: bool) -> str:
    if not (char.isalnum() or char == "_"):
        return ""
    return r"(?<!\w)" if before else r"(?!\w)"


def _height(edit: RecentEdit) -> int:
    return edit.after.count("\n") + 1
