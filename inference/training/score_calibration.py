"""`python -m inference.training calibrate`: how probable it is that a proposal, or a fill of the model's own, is right.

A case is a gap whose text is known, with what was proposed for it: one JSON object per line, `{"prefix", "suffix",
"language_id", "truth", "max_tokens", "proposals": [{"text", "evidence"}]}`. Every text is judged as the engine does it;
logistic models are fitted to which of them are right, and written into the checkpoint's `infill.json`.
"""

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from inference.checkpoint import Checkpoint
from inference.denoising import denoise
from inference.formats.calibration import FEATURES, Calibration, Coefficients, Features
from inference.formats.infill_spec import InfillSpec
from inference.judging import Judging
from inference.protocol import Fixed, InfillRequest, Masked, Proposal

NEUTRAL = Calibration(0.0, Coefficients(), Coefficients())
ALONE = {
    "evidence alone": ("evidence", "lead"),
    "model alone": tuple(name for name in FEATURES if name not in ("evidence", "lead")),
    "both": FEATURES,
}
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_TOKENS = 512  # scored at once
_LEAST_SEEN = 50  # texts that must differ in a feature
_RIDGE = 1e-3  # on standardised coefficients, so that what separates perfectly stays finite


@dataclass(frozen=True)
class Case:
    """A gap as a request asks for it, and what stands in it."""

    request: InfillRequest
    truth: str


@dataclass(frozen=True)
class Observation:
    """A text for gap number `gap`, what is known of it, and whether it is right (white space at its end aside)."""

    gap: int
    proposed: bool
    features: Features
    right: bool


def read_cases(path: Path, limit: int | None = None) -> list[Case]:
    """The cases of a file shuffled, `limit` at most. Raises ValueError, which names file and line."""
    cases = list[Case]()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                cases.append(_case(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: is not a case ({type(error).__name__}: {error})") from None
    if not cases:
        raise ValueError(f"{path}: holds no case")
    random.Random(0).shuffle(cases)
    return cases[:limit]


def _case(data: dict[str, Any]) -> Case:
    gap = Masked(data["max_tokens"])
    request = InfillRequest(
        segments=(Fixed(data["prefix"]), gap, Fixed(data["suffix"])),
        language_id=data["language_id"],
        proposals=tuple(Proposal(each["text"], float(each["evidence"])) for each in data["proposals"]),
    )
    return Case(request, data["truth"])


def observe(checkpoint: Checkpoint, case: Case, number: int, *, canvas: bool = True) -> list[Observation]:
    """Judge the proposals and, with `canvas`, the fill of a canvas denoised as the engine would."""
    kind, denoiser = checkpoint.format, checkpoint.denoiser
    prepared = kind.prepare(case.request)
    judging = Judging(kind, prepared, case.request, NEUTRAL)
    prompt = denoiser.encode(torch.tensor([prepared.prompt_ids], device=denoiser.device))
    if canvas:
        denoised = denoise(
            denoiser,
            prompt,
            prepared.canvas,
            checkpoint.settings,
            noise=kind.noise_range,
            generator=torch.Generator(denoiser.device).manual_seed(number),
            decisive=kind.decisive,
            canvas_lengths=kind.canvas_lengths,
        )
        readings = [kind.read(prepared, row.number, row.token_ids, row.log_probs) for row in denoised.rows]
        judging.add_fills({reading.fills[0]: reading.confidence for reading in readings})
    while not judging.done:
        texts = judging.waiting(_TOKENS)
        judging.take(denoiser.score([text.token_ids for text in texts], prompt, texts[0].shared))
    truth = case.truth.rstrip()
    return [
        Observation(number, verdict.proposed, verdict.features, verdict.text.rstrip() == truth)
        for verdict in judging.verdicts()
        if verdict.features != Features()
    ]


def observations(checkpoint: Checkpoint, cases: Sequence[Case], canvases: int | None = None) -> list[Observation]:
    """Of all cases, numbered as they come; of the first `canvases` with a fill (default: of all)."""
    denoised = len(cases) if canvases is None else canvases
    numbered = track(list(enumerate(cases)), description="judging")
    return [one for number, case in numbered for one in observe(checkpoint, case, number, canvas=number < denoised)]


def fit(observed: Iterable[Observation], names: Sequence[str] = FEATURES) -> Coefficients:
    """The likeliest coefficients of the features `names`, a little drawn to 0; none of a feature that hardly ever
    differs, and none but the bias where fewer texts are right, or wrong, than there are features."""
    chosen = list(observed)
    right = torch.tensor([one.right for one in chosen], dtype=torch.float64)
    share = (float(right.sum()) + 0.5) / (len(chosen) + 1)
    if min(right.sum(), len(chosen) - right.sum()) < len(names):
        return Coefficients(bias=math.log(share / (1 - share)))
    values = torch.tensor([[getattr(one.features, name) for name in names] for one in chosen], dtype=torch.float64)
    mean, spread = values.mean(dim=0), values.std(dim=0, correction=0)
    varied = (values != values.median(dim=0).values).sum(dim=0) >= _LEAST_SEEN
    standard = torch.where(varied, (values - mean) / spread.clamp(min=1e-9), 0.0)
    weights = torch.zeros(len(names) + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = standard @ weights[1:] + weights[0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, right)
        loss = loss + _RIDGE * weights[1:].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    slopes = torch.where(varied, weights[1:].detach() / spread.clamp(min=1e-9), 0.0)
    bias = float(weights[0].detach() - slopes @ mean)
    return Coefficients(bias=bias, **dict(zip(names, slopes.tolist(), strict=True)))


def best(observed: Iterable[Observation], calibration: Calibration) -> list[tuple[float, bool]]:
    """What would be shown first for each gap: its probability, and whether it is right; the surest first."""
    found = dict[int, tuple[float, bool]]()
    for one in observed:
        of_kind = calibration.proposal if one.proposed else calibration.fill
        judged = of_kind.probability(one.features), one.right
        if one.gap not in found or judged[0] > found[one.gap][0]:
            found[one.gap] = judged
    return sorted(found.values(), reverse=True)


def floor_for(shown: Sequence[tuple[float, bool]], precision: float) -> float:
    """The lowest floor above which as great a share as `precision` is right; 1 where there is none. `shown` is sorted
    as by :func:`best`."""
    floor, right = 1.0, 0
    for count, (probability, is_right) in enumerate(shown, 1):
        right += is_right
        if right >= precision * count:
            floor = probability
    return floor


def calibrate(observed: Sequence[Observation], names: Sequence[str], precision: float) -> Calibration:
    """Fit both kinds on the features `names`, and find the floor."""
    kinds = ([one for one in observed if one.proposed is proposed] for proposed in (True, False))
    proposal, fill = (fit(kind, names) if kind else Coefficients(bias=-20.0) for kind in kinds)
    fitted = Calibration(0.0, proposal, fill)
    return replace(fitted, floor=floor_for(best(observed, fitted), precision))


def report(seen: Sequence[Observation], unseen: Sequence[Observation], gaps: int, precision: float) -> Iterator[str]:
    """Lines of Markdown: how often and how rightly one would speak on `gaps` held-out gaps, by what is looked at; then
    how right the stated probabilities are."""
    yield f"| on {gaps} held-out gaps | floor | speaks | right when it speaks | right at 10 % / 20 % / 30 % / 40 % |"
    yield "|---|---|---|---|---|"
    for name, features in ALONE.items():
        calibration = calibrate(seen, features, precision)
        shown = best(unseen, calibration)
        spoken = [right for probability, right in shown if probability >= calibration.floor]
        share = sum(spoken) / len(spoken) if spoken else math.nan
        at = (round(gaps * part) for part in (0.1, 0.2, 0.3, 0.4))
        surest = " / ".join(f"{sum(right for _, right in shown[:count]) / max(1, count):.2f}" for count in at)
        yield f"| {name} | {calibration.floor:.2f} | {len(spoken) / gaps:.1%} | {share:.2f} | {surest} |"
    yield "\n| said | texts | mean of what was said | right |\n|---|---|---|---|"
    shown = best(unseen, calibrate(seen, FEATURES, precision))
    for low, high in pairwise(BINS):
        inside = [one for one in shown if low <= one[0] < high or one[0] == high == 1.0]
        if inside:
            said, right = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            yield f"| {low:.1f} to {high:.1f} | {len(inside)} | {said:.2f} | {right:.2f} |"


def write(folder: Path, calibration: Calibration) -> None:
    """Put the calibration into the folder's `infill.json`, to four digits."""
    rounded = [
        Coefficients(**{name: float(f"{value:.4g}") for name, value in asdict(of).items()})
        for of in (calibration.proposal, calibration.fill)
    ]
    floor = math.floor(calibration.floor * 1000) / 1000
    replace(InfillSpec.load(folder), calibration=Calibration(floor, *rounded)).save(folder)


def run(
    checkpoint: Checkpoint,
    folder: Path,
    files: tuple[Path, Path],
    *,
    precision: float,
    limit: int | None = None,
    canvases: int | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Judge the cases of both files, fit on the first, report on the second, and write into `folder`."""
    spec = InfillSpec.load(folder)  # before minutes of work
    seen, unseen = (read_cases(path, limit) for path in files)
    fitted, held_out = (observations(checkpoint, cases, canvases) for cases in (seen, unseen))
    for line in report(fitted, held_out, len(unseen), precision):
        say(line)
    write(folder, calibrate(fitted, FEATURES, precision))
    say(f"wrote the calibration into {folder}, format {spec.format}")
