"""Fills the holes of one document: those that lie close together in one request, each check seeing the fills before."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from inference.protocol import FinishReason, Fixed, InfillRequest, InfillResult, Masked, Segment
from lsp_server.canvas import as_model_text
from lsp_server.context.choosing import Place
from lsp_server.context.contexts import Contexts
from lsp_server.context.surroundings import Surroundings
from lsp_server.options import Options
from lsp_server.rewriting.changes import Change
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.filters import check
from lsp_server.suggestions.site import Site
from lsp_server.syntax.holes import Hole
from lsp_server.syntax.language import Language
from lsp_server.syntax.languages import model_language_id
from lsp_server.syntax.trees import SyntaxTrees
from lsp_server.worker_client import WorkerClient

CANVAS_TOKENS = 256
"""What stock DiffusionGemma sees at once: holes that fit into it with the text between them are filled together."""

MOST_TOGETHER = 96
"""Tokens of a hole that shares its canvas: enough for most bodies, and two of them fit."""

_DOCSTRINGS = {"python": (('"""', '"""'), ("'''", "'''"))}
_CHARACTERS_PER_TOKEN = 3.5
_MAX_DEADLINE_MS = 600_000


@dataclass(frozen=True)
class Filled:
    """What came of some holes: ``changes`` to the document, and why others stay, as ``(label, reason)``."""

    changes: tuple[Change, ...] = ()
    left: tuple[tuple[str, str], ...] = ()


async def fill_holes(
    snapshot: DocumentSnapshot,
    holes: Sequence[Hole],
    *,
    client: WorkerClient,
    options: Options,
    until: float,
    is_wanted: Callable[[], bool] = lambda: True,
    on_progress: Callable[[int], None] = lambda done: None,
    contexts: Contexts | None = None,
    surroundings: Surroundings | None = None,
) -> Filled:
    """Have ``holes``, which are in document order, filled from the top; each sees the fills above it.

    A group that brings nothing is asked for again hole by hole. ``on_progress`` hears how many holes are done.
    ``surroundings`` are what may be read beside the document.
    ``until`` is the time of ``time.monotonic`` from which on no more is asked for, nor once ``is_wanted``
    says no. Raises what the client raises.
    """
    work = _Work(snapshot, contexts or Contexts(), surroundings or Surroundings())
    done = 0
    for group in groups(holes):
        if not is_wanted():
            break
        if not await _ask(work, group, client, options, until) and len(group) > 1:
            for hole in group if is_wanted() else ():
                await _ask(work, (hole,), client, options, until)
        done += len(group)
        on_progress(done)
    return Filled(tuple(work.changes), tuple(work.left[hole] for hole in holes if hole in work.left))


async def _ask(work: _Work, group: Sequence[Hole], client: WorkerClient, options: Options, until: float) -> bool:
    """Have a group filled; whether anything came of it."""
    left_ms = min(int((until - time.monotonic()) * 1000), _MAX_DEADLINE_MS)
    if left_ms <= 0:
        work.left |= {hole: (hole.label, "there was no time left") for hole in group if hole not in work.left}
        return False
    return work.take(group, await client.infill(_request(work, group, options, left_ms)), options)


def groups(holes: Sequence[Hole]) -> Iterator[tuple[Hole, ...]]:
    """Holes that one canvas holds, with the text between them."""
    group: list[Hole] = []
    tokens = 0.0
    for hole in holes:
        between = (hole.start - group[-1].end) / _CHARACTERS_PER_TOKEN if group else 0
        longest = min(hole.gap.max_tokens, MOST_TOGETHER)
        if group and tokens + between + longest > CANVAS_TOKENS:
            yield tuple(group)
            group, tokens, between = [], 0.0, 0
        group.append(hole)
        tokens += between + longest
    if group:
        yield tuple(group)


class _Work:
    """A document that is being filled. ``snapshot`` has the fills so far, ``original`` none."""

    def __init__(self, original: DocumentSnapshot, contexts: Contexts, surroundings: Surroundings) -> None:
        self.snapshot = self.original = original
        self.contexts = contexts
        self.surroundings = surroundings
        self.changes: list[Change] = []
        self.left: dict[Hole, tuple[str, str]] = {}
        self._trees = SyntaxTrees()
        self._grown: list[tuple[int, int]] = []
        """Where the original was changed, and by how many characters it grew there."""

    def current(self, hole: Hole) -> Hole:
        """A hole of the original as of now."""
        return hole.moved(sum(by for at, by in self._grown if at < hole.start))

    def take(self, group: Sequence[Hole], result: InfillResult, options: Options) -> bool:
        """Put the fills of the best choice that has any; whether there was one."""
        floor = options.confidence_floor or 0.0  # the model's own is for text that nobody asked for
        for choice in result.choices:
            if choice.confidence < floor:
                reason = f"confidence {choice.confidence:.2f} is below {floor:.2f}"
                self.left |= {hole: (hole.label, reason) for hole in group if hole not in self.left}
                continue
            put = [
                self._put(hole, fill.text, choice.finish_reason)
                for hole, fill in zip(group, choice.fills, strict=False)
            ]
            if any(put):
                return True
        if not result.choices:
            self.left |= {hole: (hole.label, "the model has nothing to add") for hole in group}
        return False

    def _put(self, hole: Hole, fill: str, finish: FinishReason) -> bool:
        here = self.current(hole)
        opened = here.opened(self.snapshot)
        site = Site(opened, here.gap, self._trees.around(opened, here.gap.start))
        text, reason = check(fill, site, finish)
        if text and site.is_code and _only_comments(text, site.language):
            text, reason = "", "nothing but a comment"
        if not text:
            self.left[hole] = (hole.label, reason)
            return False
        text = text.replace("\n", self.original.line_ending)
        self.snapshot = here.opened(self.snapshot, text)
        change = Change(hole.start, hole.end, hole.before + text + hole.behind)
        self.changes.append(change)
        self._grown.append((hole.start, len(change.text) - (hole.end - hole.start)))
        self.left.pop(hole, None)
        return True


def _only_comments(text: str, language: Language | None) -> bool:
    """Whether a fill only talks of what it should do."""
    text = text.strip()
    if language is None:
        return False
    marks = [*([language.block_comment] if language.block_comment else ()), *_DOCSTRINGS.get(language.name, ())]
    for start, end in marks:
        if text.startswith(start) and text.find(end, len(start)) == len(text) - len(end):
            return True
    mark = language.line_comment
    return bool(mark) and all(not line or line.startswith(mark) for line in map(str.strip, text.split("\n")))


def _request(work: _Work, group: Sequence[Hole], options: Options, deadline_ms: int) -> InfillRequest:
    """One masked segment for each hole of the group, between the text around them."""
    snapshot = work.snapshot
    text, eol = snapshot.text, snapshot.line_ending
    here = [work.current(hole) for hole in group]
    at = line_start_within(text, here[0].start - options.prefix_characters)
    held = work.surroundings.before if at == 0 else ""
    place = Place(here[0].opened(snapshot), here[0].gap, at, here[-1].end + options.suffix_characters)
    snippets = work.contexts.snippets(place, work.surroundings, options.context_snippets)
    segments: list[Segment] = [Fixed(as_model_text(snippets, "\n"))] if snippets else []

    def longest(hole: Hole) -> int:
        return min(hole.gap.max_tokens, MOST_TOGETHER) if len(group) > 1 else hole.gap.max_tokens

    for hole in here:
        segments += [Fixed(as_model_text(held + text[at : hole.start] + hole.before, eol)), Masked(longest(hole))]
        at, held = hole.end, hole.behind
    segments.append(Fixed(as_model_text(held + text[at : at + options.suffix_characters], eol)))
    return InfillRequest(
        segments=tuple(segments),
        language_id=model_language_id(snapshot.language_id, snapshot.uri),
        document=document_key(snapshot.uri),
        deadline_ms=deadline_ms,
        seed=int(hashlib.sha256(repr(segments).encode("utf-8", "surrogatepass")).hexdigest()[:12], 16),
    )


def document_key(uri: str) -> str:
    """What commands go by at the worker: another command for the document supersedes them, a keystroke does not."""
    return hashlib.sha256(f"command {uri}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def line_start_within(text: str, offset: int) -> int:
    """The start of the first whole line from ``offset`` on."""
    return 0 if offset <= 0 else text.find("\n", offset) + 1 or offset
