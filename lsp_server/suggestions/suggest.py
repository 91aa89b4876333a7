"""The one way from a cursor to text that may be shown; the editors and ``lacuna complete`` both take it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from inference.protocol import Choice, Draft, FinishReason, Fixed, InfillRequest, InfillResult, Priority, Segment
from lsp_server.canvas import segments
from lsp_server.context.contexts import Contexts
from lsp_server.context.surroundings import Surroundings
from lsp_server.context.window import Budget
from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.options import Options
from lsp_server.proposals.propose import propose
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.filters import check
from lsp_server.suggestions.site import Site
from lsp_server.suggestions.stable_head import StableHead
from lsp_server.syntax.gaps import Gap, find_gap
from lsp_server.syntax.languages import model_language_id
from lsp_server.syntax.trees import SyntaxTrees
from lsp_server.worker_client import WorkerClient


@dataclass(frozen=True)
class Suggestion:
    """Text to stand between two str offsets of the snapshot, which are equal for a plain insertion.

    ``proposed``: it was found elsewhere, and the model judged it.
    """

    text: str
    start_offset: int
    end_offset: int
    confidence: float
    finish_reason: FinishReason
    proposed: bool = False


@dataclass(frozen=True)
class Suggestions:
    """What came of one cursor: ``items`` best first, or none and ``silence`` says why.

    ``gap`` and ``result`` are None when there was nothing to ask the model.
    """

    items: tuple[Suggestion, ...] = ()
    silence: str = ""
    gap: Gap | None = None
    result: InfillResult | None = None


async def suggest(
    snapshot: DocumentSnapshot,
    offset: int,
    *,
    client: WorkerClient,
    options: Options,
    invoked: bool = False,
    seed: int | None = None,
    priority: Priority = Priority.INTERACTIVE,
    on_draft: Callable[[Draft], None] | None = None,
    on_early: Callable[[Suggestion], None] | None = None,
    trees: SyntaxTrees | None = None,
    contexts: Contexts | None = None,
    surroundings: Surroundings | None = None,
    exclusions: Exclusions | None = None,
) -> Suggestions:
    """Find the gap at ``offset``, have it filled, check the fills.

    ``invoked`` says that the user asked. ``trees`` and ``contexts`` keep between calls what need not be made again.
    ``surroundings`` are what may be read beside the document. ``on_draft`` sees every denoising step, ``on_early``
    once the first lines that will not change any more. Raises what
    :meth:`lsp_server.worker_client.WorkerClient.infill` raises.
    """
    if silence := (exclusions or Exclusions()).why(snapshot, options):
        return Suggestions(silence=silence)
    tree = (trees or SyntaxTrees()).around(snapshot, offset)
    gap = find_gap(snapshot, offset, tree, invoked=invoked)
    if gap is None:
        return Suggestions(silence="there is no gap here")
    contexts = contexts or Contexts()
    budget = Budget(options.prefix_characters, options.suffix_characters, options.context_snippets)
    surroundings = surroundings or Surroundings()
    asked = segments(snapshot, gap, contexts.window(snapshot, gap, budget, surroundings), surroundings.before)
    request = InfillRequest(
        segments=asked,
        language_id=model_language_id(snapshot.language_id, snapshot.uri),
        document=hashlib.sha256(snapshot.uri.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        n=options.candidates,
        deadline_ms=options.deadline_ms,
        seed=_seed_of(asked) if seed is None else seed,
        priority=priority,
        stream=on_draft is not None or on_early is not None,
        proposals=propose(snapshot, gap, surroundings) if options.proposals else (),
    )
    site = Site(snapshot, gap, tree)
    result = await client.infill(request, _listener(site, on_draft, on_early))
    contexts.learn(snapshot.uri, sum(len(one.text) for one in asked if isinstance(one, Fixed)), result)
    return _checked(result, site, options)


def _listener(
    site: Site, on_draft: Callable[[Draft], None] | None, on_early: Callable[[Suggestion], None] | None
) -> Callable[[Draft], None] | None:
    """What hears the drafts: ``on_draft``, and ``on_early`` with the first head that is stable and may be shown."""
    if on_early is None:
        return on_draft
    head, told = StableHead(), False

    def listen(draft: Draft) -> None:
        nonlocal told
        if on_draft is not None:
            on_draft(draft)
        if told or not draft.fills or not (stable := head.after(draft.fills[0])):
            return
        text, _ = check(stable, site)
        if text and stable.startswith(text):
            told = True
            text = text.replace("\n", site.snapshot.line_ending)
            on_early(Suggestion(text, site.gap.start, site.gap.end, 0.0, FinishReason.STEPS))

    return listen


def _seed_of(asked: tuple[Segment, ...]) -> int:
    """The same text gets the same suggestion: asking twice must not make ghost text flicker."""
    return int.from_bytes(hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).digest()[:6], "big")


def _checked(result: InfillResult, site: Site, options: Options) -> Suggestions:
    floor = result.confidence_floor if options.confidence_floor is None else options.confidence_floor
    items: dict[str, Suggestion] = {}
    silence = "the model has nothing to add"
    for choice in result.choices:
        if choice.confidence < floor:
            silence = f"confidence {choice.confidence:.2f} is below {floor:.2f}"
            continue
        text, reason = check(_fill(choice), site, choice.finish_reason)
        if not text:
            silence = f"dropped: {reason}"
            continue
        text = text.replace("\n", site.snapshot.line_ending)
        item = Suggestion(text, site.gap.start, site.gap.end, choice.confidence, choice.finish_reason, choice.proposed)
        items.setdefault(text, item)
    return Suggestions(tuple(items.values()), "" if items else silence, site.gap, result)


def _fill(choice: Choice) -> str:
    return choice.fills[0].text if choice.fills else ""
