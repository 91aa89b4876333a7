"""`python -m inference.training.length_calibration --model FOLDER --data FILES...`: how sure a model is at each length.

For gaps whose length is known, all lengths of the ladder and the right one are denoised as the engine would; a curve is
fitted to how probable it is that a length is the right one, and written as `gap_length.json` into the folder.
"""

import argparse
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.progress import track

from inference.checkpoint import Checkpoint, load_checkpoint
from inference.denoising import denoise
from inference.errors import EngineError
from inference.formats.chat import ChatFormat
from inference.formats.clamped import Clamped, ClampedLayout
from inference.formats.filled import Filled
from inference.formats.gap_length import FILE_NAME, LengthConfidence, ladder, raw_confidence
from inference.protocol import Fixed, InfillRequest, Masked
from inference.training.corpus import LANGUAGES

LINES = (0, 0, 0, 1, 2, 4, 8)  # how many line ends a gap crosses: mostly none
CONTEXT = 4000  # characters on either side of a gap
HELD_OUT = 5  # each fifth gap judges the fit


@dataclass(frozen=True)
class KnownGap:
    """A gap and what stands in it."""

    language_id: str
    prefix: str
    gap: str
    suffix: str


@dataclass(frozen=True)
class Observation:
    """How likely the model found its fill of gap number `gap` at `length`, and whether that is the gap's length."""

    gap: int
    length: int
    mean_log_p: float
    right: bool


def draw_gaps(files: Sequence[Path], count: int, seed: int) -> list[KnownGap]:
    """`count` gaps from anywhere in a line to the end of that line or of a later one. Raises ValueError if no file has
    text."""
    rng = random.Random(seed)
    texts = [(LANGUAGES.get(path.suffix, "plaintext"), path.read_text(encoding="utf-8")) for path in files]
    texts = [(language, text) for language, text in texts if text.strip()]
    if not texts:
        raise ValueError("the data files hold no text; give files such as the model will be used on")
    gaps: list[KnownGap] = []
    while len(gaps) < count:
        language, text = rng.choice(texts)
        start = rng.randrange(len(text))
        end = start
        for _ in range(rng.choice(LINES) + 1):
            found = text.find("\n", end + 1)
            end = found if found >= 0 else len(text)
        if text[start:end].strip():
            prefix, suffix = text[max(0, start - CONTEXT) : start], text[end : end + CONTEXT]
            gaps.append(KnownGap(language, prefix, text[start:end], suffix))
    return gaps


def observe(checkpoint: Checkpoint, clamped: Clamped, known: KnownGap, number: int, longest: int) -> list[Observation]:
    """Denoise a gap at all lengths side by side; nothing where it is longer than `longest` tokens."""
    length = len(clamped.prompt.encode(known.gap))
    if not 0 < length <= longest:
        return []
    segments = (Fixed(known.prefix), Masked(longest), Fixed(known.suffix))
    request = InfillRequest(segments=segments, language_id=known.language_id)
    tried = sorted({*ladder(longest), length})
    prepared = replace(clamped, confidence=raw_confidence).lay_out(Filled.nothing_of(request), 1, lengths=tried)
    denoiser, kind = checkpoint.denoiser, checkpoint.format
    prompt = denoiser.encode(torch.tensor([prepared.prompt_ids], device=denoiser.device))
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
    assert isinstance(prepared.layout, ClampedLayout)
    observations: list[Observation] = []
    for row in denoised.rows:
        ((start, end),) = prepared.layout.rows[row.number].spans
        mean_log_p = math.fsum(row.log_probs[start:end]) / (end - start)
        observations.append(Observation(number, end - start, mean_log_p, end - start == length))
    return observations


def fit(observations: Sequence[Observation]) -> LengthConfidence:
    """The curve of greatest likelihood, by logistic regression; both slopes are kept from falling below 0."""
    x = torch.tensor([one.mean_log_p for one in observations], dtype=torch.float64)
    log_length = torch.tensor([one.length for one in observations], dtype=torch.float64).log()
    right = torch.tensor([one.right for one in observations], dtype=torch.float64)
    parameters = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        slopes, bias = torch.nn.functional.softplus(parameters[:2]), parameters[2:]
        curve = bias[0] + bias[1] * log_length + bias[2] * log_length**2
        logits = (slopes[0] + slopes[1] * log_length) * x - curve
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, right)
        loss = loss + 1e-5 * parameters.square().sum()  # so that what separates perfectly stays finite
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    slopes = torch.nn.functional.softplus(parameters[:2]).tolist()
    return LengthConfidence(*slopes, *parameters[2:].tolist())


@dataclass(frozen=True)
class Choices:
    """How well a confidence chooses: share of gaps whose right length it picks, and mean |log2(picked / right)|."""

    exact: float
    octaves_off: float


def choices(observations: Sequence[Observation], confidence: Callable[[float, int], float]) -> Choices:
    """Let `confidence` choose among the observations of every gap."""
    groups: dict[int, list[Observation]] = {}
    for one in observations:
        groups.setdefault(one.gap, []).append(one)
    exact, off = 0, 0.0
    for group in groups.values():
        picked = max(group, key=lambda one: confidence(one.mean_log_p, one.length))
        right = next(one for one in group if one.right)
        exact += picked is right
        off += abs(math.log2(picked.length / right.length))
    return Choices(exact / len(groups), off / len(groups))


def curves(observations: Sequence[Observation]) -> Iterator[tuple[int, float, float]]:
    """(length, mean log p where it is the right length, where it is a wrong one) per length; nan where none is."""
    for length in sorted({one.length for one in observations}):
        means = []
        for right in (True, False):
            values = [one.mean_log_p for one in observations if one.length == length and one.right is right]
            means.append(math.fsum(values) / len(values) if values else math.nan)
        yield length, means[0], means[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Observe, fit, judge on held-out gaps, write."""
    parser = argparse.ArgumentParser(prog="python -m inference.training.length_calibration", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a checkpoint with a chat template")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="text files such as it will be used on")
    parser.add_argument("--gaps", type=int, default=400, help="how many gaps to try")
    parser.add_argument("--longest", type=int, default=64, help="tokens of the longest gap to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help=f"folder to write {FILE_NAME} into; default: the model's")
    options = parser.parse_args(arguments)
    try:
        gaps = draw_gaps(options.data, options.gaps, options.seed)
        checkpoint = load_checkpoint(options.model, lambda progress, message: print(f"{message} ({progress:.0%})"))
    except (OSError, ValueError, EngineError) as error:
        raise SystemExit(str(error)) from error
    kind = checkpoint.format
    if not isinstance(kind, ChatFormat):
        raise SystemExit(f"{options.model} is trained to end a gap itself; only a chat model's lengths are calibrated")

    numbered = list(enumerate(gaps))
    seen = [
        observe(checkpoint, kind.clamped, gap, number, options.longest)
        for number, gap in track(numbered, description="denoising at all lengths")
    ]
    usable = [group for group in seen if group]
    fitted = [one for index, group in enumerate(usable) if index % HELD_OUT for one in group]
    held_out = [one for index, group in enumerate(usable) if not index % HELD_OUT for one in group]
    if not fitted or not held_out:
        raise SystemExit(f"no gap of at most {options.longest} tokens was drawn; raise --gaps or --longest")
    confidence = fit(fitted)
    print("| length | mean log p, right | mean log p, wrong |\n|---|---|---|")
    for length, right, wrong in curves(fitted):
        print(f"| {length} | {right:.3f} | {wrong:.3f} |")
    print(
        f"\n| on {len(usable) - len({one.gap for one in fitted})} held-out gaps | exact | octaves off |\n|---|---|---|"
    )
    for name, chooses in (("raw", raw_confidence), ("calibrated", confidence)):
        judged = choices(held_out, chooses)
        print(f"| {name} | {judged.exact:.2f} | {judged.octaves_off:.2f} |")
    confidence.save(options.out or options.model)
    print(f"wrote {(options.out or options.model) / FILE_NAME}")


if __name__ == "__main__":
    main()
