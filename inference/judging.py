"""Which of several texts stands in a gap: what was proposed, and what the model filled in, judged by one measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference.errors import ModelBroken
from inference.formats.base import Continuation, Format, Prepared
from inference.formats.calibration import MOST_LEAD, Calibration, Features
from inference.protocol import EditRequest, InfillRequest

_LEAST_SHARE = -20.0
_LEAST_CONFIDENCE = 1e-9


@dataclass(frozen=True)
class Verdict:
    """A text, what is known of it, and the probability that it is exactly right; ``proposed`` texts are so called even
    where the model filled them in too."""

    text: str
    proposed: bool
    features: Features
    probability: float


@dataclass(frozen=True)
class _Scores:
    tokens: int
    text: float
    head: float


class Judging:
    """The texts for the only gap of a request. Pure bookkeeping: somebody else scores what is :attr:`waiting`.

    Texts that the format cannot lay out, such as ones too long for the gap, are not judged: a proposal is dropped, a
    fill has the probability 0.
    """

    def __init__(self, kind: Format, prepared: Prepared, request: InfillRequest, calibration: Calibration) -> None:
        self._kind, self._prepared, self._calibration = kind, prepared, calibration
        # None stands for the prompt's own end, which every text's score is relative to
        self._waiting: dict[str | None, Continuation] = {}
        self._scores: dict[str | None, _Scores] = {}
        self._fills: dict[str, float] = {}
        self._evidence: dict[str, float] = {}
        for proposal in request.proposals:
            if self._add(proposal.text):
                self._evidence[proposal.text] = max(proposal.evidence, self._evidence.get(proposal.text, -math.inf))

    @classmethod
    def of(cls, kind: Format, prepared: Prepared, request: InfillRequest | EditRequest) -> Judging | None:
        """None for what cannot be judged: an edit, several gaps, a checkpoint that is not calibrated."""
        calibration = kind.calibration
        if calibration is None or isinstance(request, EditRequest) or kind.continuation(prepared, "") is None:
            return None
        return cls(kind, prepared, request, calibration)

    @property
    def floor(self) -> float:
        """The probability below which nothing should be shown."""
        return self._calibration.floor

    def waiting(self, tokens: int) -> list[Continuation]:
        """Those to be scored next: at least one, if there is one left, and at most so many ``tokens`` together."""
        found, used = list[Continuation](), 0
        for continuation in self._waiting.values():
            used += len(continuation.token_ids)
            if found and used > tokens:
                break
            found.append(continuation)
        return found

    @property
    def done(self) -> bool:
        """Whether nothing is waiting."""
        return not self._waiting

    def take(self, scored: Sequence[Sequence[float]]) -> None:
        """Take the log p of the tokens of the first ones :meth:`waiting`. Raises :class:`ModelBroken` for no number."""
        for text, log_probs in zip(list(self._waiting), scored, strict=False):
            if any(map(math.isnan, log_probs)):
                raise ModelBroken
            continuation = self._waiting.pop(text)
            behind = len(log_probs) - continuation.head
            self._scores[text] = _Scores(behind, math.fsum(log_probs[:behind]), math.fsum(log_probs[behind:]))

    def add_fills(self, confidences: Mapping[str, float]) -> None:
        """Judge what the model has filled in too: texts, and their canvas confidences 0..1."""
        self._fills |= confidences
        for text in confidences:
            self._add(text)

    def verdicts(self) -> list[Verdict]:
        """Of all texts, the likeliest first."""
        proposals = self._shares([text for text in self._evidence if text in self._scores])
        fills = self._shares([text for text in {**self._evidence, **self._fills} if text in self._scores])
        found = [self._proposal(text, share) for text, share in proposals.items()]
        found += [self._fill(text, fills.get(text)) for text in self._fills if text not in self._evidence]
        return sorted(found, key=lambda verdict: verdict.probability, reverse=True)

    def _add(self, text: str) -> bool:
        if text in self._scores or text in self._waiting:
            return True
        continuation = self._kind.continuation(self._prepared, text) if text.strip() else None
        if continuation is None:
            return False
        own = tuple(self._prepared.prompt_ids[continuation.shared :])
        if None not in self._scores and len(own) > 1:
            self._waiting.setdefault(None, Continuation(continuation.shared, own, 0))
        self._waiting[text] = continuation
        return True

    def _shares(self, texts: Sequence[str]) -> dict[str, float]:
        """Log of each text's share in the probability of all of ``texts``."""
        totals = {text: self._scores[text].text + self._scores[text].head for text in texts}
        highest = max(totals.values(), default=0.0)
        whole = highest + math.log(math.fsum(math.exp(total - highest) for total in totals.values()) or 1.0)
        return {text: max(_LEAST_SHARE, total - whole) for text, total in totals.items()}

    def _proposal(self, text: str, share: float) -> Verdict:
        evidence = self._evidence[text]
        others = max((known for other, known in self._evidence.items() if other != text), default=-math.inf)
        lead = max(-MOST_LEAD, min(MOST_LEAD, evidence - others))
        features = self._features(text, share, evidence=evidence, lead=lead, agrees=float(text in self._fills))
        return Verdict(text, True, features, self._calibration.proposal.probability(features))

    def _fill(self, text: str, share: float | None) -> Verdict:
        if share is None:
            return Verdict(text, False, Features(), 0.0)
        features = self._features(text, share, canvas=math.log(max(self._fills[text], _LEAST_CONFIDENCE)))
        return Verdict(text, False, features, self._calibration.fill.probability(features))

    def _features(self, text: str, share: float, **known: float) -> Features:
        scores, own = self._scores[text], self._scores.get(None)
        relative = scores.text - (own.text if own else 0.0)
        return Features(
            text=relative,
            mean=relative / max(1, scores.tokens),
            head=scores.head,
            length=math.log1p(scores.tokens),
            share=share,
            **known,
        )
