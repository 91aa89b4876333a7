"""How well a checkpoint fills gaps of packages it has never seen: exact match, similarity, parses, steps, time."""

import difflib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.corpus import Document
from inference.training.denoise import Fill, Sampling, denoise
from inference.training.examples import context, cut
from inference.training.spans import draw_span, excerpt, parser

CANVAS = {"line": 32, "node": 64, "characters": 64, "lines": 64}
LANGUAGES = {
    "line": ("python", "javascript", "typescript", "markdown", "go", "rust"),
    "node": ("python",),
    "characters": ("python",),
    "lines": ("python",),
}
ROWS = 16  # gaps denoised together
STEPS = (1, 2, 4, 8, 16)  # at most, of the table that sets steps against quality
SHOWN = 60  # characters of context in a printed sample


@dataclass(frozen=True)
class Case:
    """One held-out gap."""

    kind: str
    language: str
    path: str
    prefix: str
    gap: str
    suffix: str


@dataclass(frozen=True)
class Outcome:
    """What came of a case; `parses` is None where the original does not parse or no grammar is there."""

    case: Case
    fill: Fill
    text: str
    exact: bool
    similarity: float
    parses: bool | None


def draw_cases(documents: Sequence[Document], kind: str, language: str, count: int, seed: int) -> list[Case]:
    """`count` seeded gaps with something in them, evenly over packages."""
    rng = random.Random(f"{seed}/{kind}/{language}")
    by_package: dict[str, list[Document]] = {}
    for document in documents:
        if document.language == language:
            by_package.setdefault(document.package, []).append(document)
    packages = sorted(by_package)
    cases: list[Case] = []
    while len(cases) < count:
        document = rng.choice(by_package[packages[len(cases) % len(packages)]])
        text = excerpt(document.text, rng)
        span = draw_span(text, language, rng, kind)
        gap = text[span.start : span.end]
        if span.kind == kind and gap.strip():
            path = f"{document.package}/{document.path}"
            cases.append(Case(kind, language, path, text[: span.start], gap, text[span.end :]))
    return cases


def prompt(case: Case, tokenizer: Tokenizer, spec: InfillSpec) -> list[int]:
    """The prompt of a case, cut as in training."""
    text = case.prefix + case.gap + case.suffix
    start = len(case.prefix)
    parts = context(text, start, start + len(case.gap), spec.max_prompt_tokens)
    prefix, suffix = (encoding.ids for encoding in tokenizer.encode_batch(list(parts), add_special_tokens=False))
    return spec.prompt(case.language, *cut(prefix, suffix, spec.max_prompt_tokens - 4))


def run_cases(
    model: DenseDiffusionGemma,
    tokenizer: Tokenizer,
    spec: InfillSpec,
    cases: Sequence[Case],
    sampling: Sampling,
    seed: int,
) -> list[Outcome]:
    """Fill every case once."""
    generator = torch.Generator().manual_seed(seed)
    outcomes: list[Outcome] = []
    for start in range(0, len(cases), ROWS):
        rows = cases[start : start + ROWS]
        prompts = [prompt(case, tokenizer, spec) for case in rows]
        fills = denoise(model, spec, prompts, CANVAS[rows[0].kind], sampling, generator)
        outcomes += [judge(case, fill, tokenizer) for case, fill in zip(rows, fills, strict=True)]
    return outcomes


def judge(case: Case, fill: Fill, tokenizer: Tokenizer) -> Outcome:
    """Compare a fill with what stood there, white space at the end aside."""
    text = tokenizer.decode(fill.gap, skip_special_tokens=False)
    exact = fill.closed and text.rstrip() == case.gap.rstrip()
    similarity = difflib.SequenceMatcher(None, text, case.gap, autojunk=False).ratio()
    return Outcome(case, fill, text, exact, similarity, _parses(case, text))


def _parses(case: Case, text: str) -> bool | None:
    tree_parser = parser(case.language)
    if tree_parser is None:
        return None
    if tree_parser.parse((case.prefix + case.gap + case.suffix).encode()).root_node.has_error:
        return None
    return not tree_parser.parse((case.prefix + text + case.suffix).encode()).root_node.has_error


def summary(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The figures of one kind."""
    parsed = [outcome.parses for outcome in outcomes if outcome.parses is not None]
    count = len(outcomes)
    return {
        "gaps": count,
        "exact": sum(outcome.exact for outcome in outcomes) / count,
        "similarity": sum(outcome.similarity for outcome in outcomes) / count,
        "parses": sum(parsed) / len(parsed) if parsed else float("nan"),
        "closed": sum(outcome.fill.closed for outcome in outcomes) / count,
        "steps": sum(outcome.fill.steps for outcome in outcomes) / count,
    }


def precision_table(outcomes: Sequence[Outcome]) -> list[tuple[float, float, float]]:
    """(floor, precision, share spoken) over rising confidence floors; empty fills are silence."""
    table: list[tuple[float, float, float]] = []
    for hundredth in range(0, 100, 5):
        floor = hundredth / 100
        spoken = [o for o in outcomes if o.fill.confidence >= floor and o.fill.closed and o.text.strip()]
        precision = sum(outcome.exact for outcome in spoken) / len(spoken) if spoken else float("nan")
        table.append((floor, precision, len(spoken) / len(outcomes)))
    return table


def confidence_floor(table: Sequence[tuple[float, float, float]], precision: float, least_share: float = 0.01) -> float:
    """The lowest floor from which on every floor that still speaks reaches `precision`; 1.0 if none does."""
    floor = 1.0
    for candidate, reached, share in reversed(table):
        if share < least_share:
            continue
        if not reached >= precision:
            break
        floor = candidate
    return floor


def step_milliseconds(
    model: DenseDiffusionGemma, prompt_tokens: int, length: int, repeats: int = 20
) -> tuple[float, float]:
    """Milliseconds of one `encode` and of one self-conditioned `decode`, one row, best of `repeats`."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.config.vocab_size
    ids = torch.randint(100, vocabulary, (1, prompt_tokens), generator=generator)
    canvas = torch.randint(100, vocabulary, (1, length), generator=generator)
    encodes, decodes = [], []
    with torch.no_grad():
        logits = None
        for _ in range(repeats):
            begun = time.perf_counter()
            kv = model.encode(ids)
            encoded = time.perf_counter()
            logits = model.decode(canvas, kv, logits)
            decodes.append(time.perf_counter() - encoded)
            encodes.append(encoded - begun)
    return min(encodes) * 1000, min(decodes) * 1000


def evaluate(folder: Path, documents: Sequence[Document], sampling: Sampling, count: int, seed: int) -> dict[str, Any]:
    """Everything the model card says about a checkpoint folder."""
    from inference.training.tokenizer import load_tokenizer

    spec, tokenizer = InfillSpec.load(folder), load_tokenizer(folder)
    model = DenseDiffusionGemma.load(folder, torch.bfloat16)
    report: dict[str, Any] = {"kinds": {}, "samples": []}
    for kind, languages in LANGUAGES.items():
        for language in languages:
            if not any(document.language == language for document in documents):
                continue
            cases = draw_cases(documents, kind, language, count, seed)
            outcomes = run_cases(model, tokenizer, spec, cases, sampling, seed)
            report["kinds"][f"{kind} {language}"] = summary(outcomes)
            if (kind, language) == ("line", "python"):
                report["precision"] = precision_table(outcomes)
                report["samples"] = [sample(outcome) for outcome in outcomes[:10]]
                report["steps"] = {
                    most: summary(
                        run_cases(model, tokenizer, spec, cases, replace(sampling, max_denoising_steps=most), seed)
                    )
                    for most in STEPS
                }
    report["milliseconds"] = {
        f"prompt {tokens}, canvas {length}": step_milliseconds(model, tokens, length)
        for tokens, length in ((256, 16), (256, 32), (448, 32), (448, 64))
    }
    return report


def sample(outcome: Outcome) -> dict[str, Any]:
    """A fill with a little of its context, for people."""
    case = outcome.case
    return {
        "path": case.path,
        "prefix": case.prefix[-SHOWN:],
        "fill": outcome.text,
        "suffix": case.suffix[:SHOWN],
        "expected": case.gap,
        "exact": outcome.exact,
        "confidence": round(outcome.fill.confidence, 3),
    }


def render(report: dict[str, Any]) -> str:
    """The report as Markdown tables."""
    lines = ["| gap | gaps | exact | similarity | parses | closed | steps |", "|---|---|---|---|---|---|---|"]
    for name, row in report["kinds"].items():
        parses = "–" if row["parses"] != row["parses"] else f"{row['parses']:.3f}"
        lines.append(
            f"| {name} | {row['gaps']} | {row['exact']:.3f} | {row['similarity']:.3f} | {parses} "
            f"| {row['closed']:.3f} | {row['steps']:.1f} |"
        )
    lines += ["", "| confidence floor | precision | speaks on |", "|---|---|---|"]
    lines += [f"| {floor:.2f} | {precision:.3f} | {share:.3f} |" for floor, precision, share in report["precision"]]
    lines += ["", "| at most so many steps | taken, mean | exact | similarity | closed |", "|---|---|---|---|---|"]
    lines += [
        f"| {most} | {row['steps']:.1f} | {row['exact']:.3f} | {row['similarity']:.3f} | {row['closed']:.3f} |"
        for most, row in report.get("steps", {}).items()
    ]
    lines += ["", "| shape | encode, ms | one step, ms |", "|---|---|---|"]
    lines += [f"| {name} | {encode:.1f} | {decode:.1f} |" for name, (encode, decode) in report["milliseconds"].items()]
    return "\n".join(lines)
