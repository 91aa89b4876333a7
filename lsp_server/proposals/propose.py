"""Proposals for a gap: what the text around it says elsewhere."""

from __future__ import annotations

from itertools import chain, islice

from inference.protocol import MAX_PROPOSALS, Proposal
from lsp_server.context.surroundings import Surroundings
from lsp_server.proposals.candidates import candidates
from lsp_server.proposals.evidence import coefficients, evidence
from lsp_server.proposals.features import Weigher
from lsp_server.proposals.lookup import Source
from lsp_server.proposals.place import Place
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import Gap

_FAR = 500_000
"""Characters of the document that are searched on either side of the gap."""

_FILES, _OTHERS = 64, 500_000
"""Other files that are searched, and their characters: the likeliest come first, and a key waits for all of them."""


def propose(snapshot: DocumentSnapshot, gap: Gap, surroundings: Surroundings) -> tuple[Proposal, ...]:
    """At most :data:`~inference.protocol.MAX_PROPOSALS` texts for the gap, the likeliest first."""
    place = Place(snapshot, gap)
    found = candidates(place, sources(place, surroundings))
    weigher, weights = Weigher(place, found), coefficients()
    rated = [Proposal(one.text, round(evidence(weigher.features(one), weights), 3)) for one in found.items]
    return tuple(sorted(rated, key=lambda one: -one.evidence)[:MAX_PROPOSALS])


def sources(place: Place, surroundings: Surroundings) -> list[Source]:
    """What is searched: the document around the gap's line, then the other files, up to a bound."""
    text, gap = place.snapshot.text, place.gap
    found = [
        Source(text, max(0, gap.start - _FAR), place.line_start, backwards=True),
        Source(text, place.line_end, min(len(text), gap.end + _FAR)),
    ]
    left, seen = _OTHERS, {place.snapshot.uri}
    for other in islice(chain(surroundings.others, surroundings.nearby), _FILES):
        if other.uri in seen:
            continue
        end = min(len(other.text), left)
        found.append(Source(other.text, 0, end, rank=len(seen)))
        seen.add(other.uri)
        left -= end
        if left <= 0:
            break
    return found
