"""``lacuna.fillGap``, ``lacuna.fillAllHoles`` and ``lacuna.rewrite``: edits by the model, for every editor there is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

from pygls.lsp.server import LanguageServer

from lsp_server.features.edit_arguments import EditArguments, read_arguments
from lsp_server.features.edits import Edits, Job, Made
from lsp_server.features.work_progress import WorkProgress
from lsp_server.rewriting.changes import Change
from lsp_server.rewriting.docstrings import docstring_at
from lsp_server.rewriting.filling import fill_holes
from lsp_server.rewriting.rewriting import STRENGTH, rewrite
from lsp_server.session import Session
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.suggest import suggest
from lsp_server.syntax.holes import Hole, hole_at, holes_of

FILL_GAP = "lacuna.fillGap"
FILL_ALL_HOLES = "lacuna.fillAllHoles"
REWRITE = "lacuna.rewrite"
NEEDS = {FILL_GAP: "position", FILL_ALL_HOLES: "", REWRITE: "range"}
TITLES = {
    FILL_GAP: "Lacuna: fill the gap",
    FILL_ALL_HOLES: "Lacuna: fill the holes",
    REWRITE: "Lacuna: rewrite the selection",
}
_ONLY_COMMENT = re.compile(r"\W*|\s*(?:#|//|/\*|--).*")


def register(server: LanguageServer, session: Session, edits: Edits) -> None:
    """Offer the commands; their arguments stand in ``commands.schema.json``."""
    jobs = Jobs(session)

    async def run(command: str, raw: tuple[Any, ...]) -> dict[str, Any]:
        given = read_arguments(command, NEEDS[command], raw)
        job = jobs.job(command, given)
        return await edits.run(
            given.uri, TITLES[command], job, version=given.version, preview=given.preview, tell=given.tell
        )

    @server.command(FILL_GAP)
    async def fill_gap(*arguments: Any) -> dict[str, Any]:
        return await run(FILL_GAP, arguments)

    @server.command(FILL_ALL_HOLES)
    async def fill_all_holes(*arguments: Any) -> dict[str, Any]:
        return await run(FILL_ALL_HOLES, arguments)

    @server.command(REWRITE)
    async def rewrite_selection(*arguments: Any) -> dict[str, Any]:
        return await run(REWRITE, arguments)


class Jobs:
    """What each command does to a document."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def job(self, command: str, given: EditArguments) -> Job:
        """The job of a command with its arguments."""
        work = {FILL_GAP: self._fill_gap, FILL_ALL_HOLES: self._fill_all_holes, REWRITE: self._rewrite}[command]

        async def job(snapshot: DocumentSnapshot, progress: WorkProgress) -> Made:
            return await work(snapshot, progress, given)

        return job

    async def _fill_gap(self, snapshot: DocumentSnapshot, progress: WorkProgress, given: EditArguments) -> Made:
        session, offset = self._session, self._offset(snapshot, given.start)
        tree = session.trees.around(snapshot, offset)
        if given.docstring:
            docstring = docstring_at(snapshot, tree, offset) if tree else None
            if docstring is None or docstring.hole is None:
                return Made(reason="There is no function without a docstring here.")
            return await self._fill(snapshot, progress, [docstring.hole])
        hole = hole_at(snapshot, tree, offset) if tree else None
        if hole is not None and _is_meant(snapshot, hole, offset):
            return await self._fill(snapshot, progress, [hole])
        found = await suggest(
            snapshot,
            offset,
            client=session.client,
            options=session.options,
            invoked=True,
            trees=session.trees,
            contexts=session.contexts,
            surroundings=session.surroundings(snapshot.uri),
            exclusions=session.exclusions,
        )
        if not found.items:
            return Made(reason=f"Nothing to suggest: {found.silence}.")
        best = found.items[0]
        return Made((Change(best.start_offset, best.end_offset, best.text),))

    async def _fill_all_holes(self, snapshot: DocumentSnapshot, progress: WorkProgress, given: EditArguments) -> Made:
        holes = await asyncio.to_thread(holes_of, snapshot)
        return await self._fill(snapshot, progress, holes) if holes else Made(reason="There is no hole in this file.")

    async def _fill(self, snapshot: DocumentSnapshot, progress: WorkProgress, holes: Sequence[Hole]) -> Made:
        filled = await fill_holes(
            snapshot,
            holes,
            client=self._session.client,
            options=self._session.options,
            until=time.monotonic() + self._session.options.edit_deadline_ms / 1000,
            is_wanted=lambda: self._session.documents.is_latest(snapshot),
            on_progress=lambda done: progress.report(done, len(holes)),
            contexts=self._session.contexts,
            surroundings=self._session.surroundings(snapshot.uri),
        )
        left = [{"label": label, "reason": reason} for label, reason in filled.left]
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        reason = f"Nothing to suggest for {left[0]['label']}{more}: {left[0]['reason']}." if left else ""
        return Made(filled.changes, reason, {"filled": len(filled.changes), "left": left})

    async def _rewrite(self, snapshot: DocumentSnapshot, progress: WorkProgress, given: EditArguments) -> Made:
        session = self._session
        health = session.client.health
        if given.instruction and not health.instructions:
            return Made(
                reason=f"{health.model} takes no instructions; leave the instruction out, or load a model that does."
            )
        start, end = self._offset(snapshot, given.start), self._offset(snapshot, given.end)
        rewritten = await rewrite(
            snapshot,
            min(start, end),
            max(start, end),
            client=session.client,
            options=session.options,
            deadline_ms=session.options.edit_deadline_ms,
            instruction=given.instruction,
            strength=STRENGTH if given.strength is None else given.strength,
        )
        return Made(rewritten.changes, f"Nothing to change: {rewritten.reason}." if rewritten.reason else "")

    def _offset(self, snapshot: DocumentSnapshot, position: tuple[int, int] | None) -> int:
        return snapshot.lines.offset(*(position or (0, 0)), self._session.encoding)


def _is_meant(snapshot: DocumentSnapshot, hole: Hole, offset: int) -> bool:
    """Whether a cursor on a hole's line means the hole: it touches it, or nothing else is on the line."""
    before = snapshot.text[snapshot.lines.start(snapshot.lines.line_of(hole.start)) : hole.start]
    return hole.start <= offset <= hole.end or _ONLY_COMMENT.fullmatch(before) is not None
