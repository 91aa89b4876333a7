"""Do the gaps admit what people wrote? ``python -m tests.benchmarks.gaps FOLDER [FOLDER ...]``.

Cuts seeded spans out of real files, asks for the gap at the cut, and checks that what stood there is admitted:
its kind, whether it may span lines, where it must end, its indentation, its length (at 3.5 characters a token).
"Slack" is how much of the text behind the cut the same end rule would let through too: the less, the tighter.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.ending import admitted
from lsp_server.syntax.gaps import Gap, GapKind, find_gap
from lsp_server.syntax.languages import LANGUAGES, Language, language_id_of, language_of
from lsp_server.syntax.trees import parse
from tests.benchmarks.gap_spans import LINE_LEVEL, Span, spans_of

SPANS = 1000
LARGEST = 40_000
"""Bytes of the largest file that is cut."""

PER_FILE = 12
CHARACTERS_PER_TOKEN = 3.5
_CODE = {GapKind.LINE_TAIL, GapKind.INLINE, GapKind.BRACKET, GapKind.IMPORT, GapKind.IDENTIFIER, GapKind.PARAGRAPH}
_LINES = {GapKind.STATEMENT, GapKind.BLOCK, GapKind.BRACKET, GapKind.IMPORT, GapKind.PARAGRAPH, GapKind.LIST_ITEM}
KINDS = {
    "rest of line": _CODE | _LINES | {GapKind.HEADING},
    "expression": _CODE,
    "argument": _CODE,
    "string": {GapKind.STRING, GapKind.IMPORT, GapKind.DOCSTRING},
    "comment": {GapKind.COMMENT, GapKind.DOCSTRING},
    "statement": _LINES,
    "body": _LINES,
}


@dataclass(frozen=True)
class Outcome:
    """``refused`` is empty for a text that is admitted; ``slack`` counts characters, blank ones left out."""

    language: Language
    span: Span
    gap: Gap | None
    refused: str
    slack: int
    source: str


def judge(source: str, span: Span, language: Language, language_id: str) -> Outcome:
    """Cut ``span`` out of ``source`` and hold the gap against it."""
    text = source[span.start : span.end]
    left = source[: span.start - span.stripped]
    cut = DocumentSnapshot("file:///cut", 1, language_id, left + source[span.end :])
    gap = find_gap(cut, len(left), parse(language, utf8(cut.text), limit_s=2), invoked=True)
    if gap is None:
        return Outcome(language, span, None, "no gap", 0, source)
    slack = "".join(
        source[span.end : span.start + admitted(source[span.start : span.end + 4000], gap, language)].split()
    )
    return Outcome(language, span, gap, _refused(text, source, span, gap, language), len(slack), source)


def _refused(text: str, source: str, span: Span, gap: Gap, language: Language) -> str:
    if gap.kind not in KINDS[span.what]:
        return f"kind {gap.kind.value}"
    if "\n" in text and not gap.may_span_lines:
        return "lines"
    if admitted(text, gap, language) < len(text):
        return f"end {gap.end_rule.value}"
    line = source[source.rfind("\n", 0, span.start) + 1 : span.start]
    if span.what in ("statement", "body") and not line.strip() and gap.may_span_lines and gap.indent != line:
        return "indentation"
    return "budget" if len(text) / CHARACTERS_PER_TOKEN > gap.max_tokens else ""


def files_in(folders: list[Path]) -> dict[Language, list[Path]]:
    """The files of each language below ``folders``, in an order that does not depend on the machine."""
    found: dict[Language, list[Path]] = defaultdict(list)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            # A folder named after a language decides for headers, whose suffix does not.
            language = language_of(path.parent.name) or language_of(language_id_of(path))
            if language and path.is_file() and path.stat().st_size <= LARGEST:
                found[language].append(path)
    return found


def outcomes(language: Language, paths: list[Path], count: int, seed: int) -> Iterator[Outcome]:
    """Up to ``count`` cuts, spread over files and over the kinds of spans."""
    rng = random.Random(f"{seed} {language.name}")
    rng.shuffle(paths)
    per_file = max(PER_FILE, 2 * count // max(1, len(paths)))
    done = 0
    for path in paths:
        if done >= count:
            return
        try:
            source = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            continue
        tree = parse(language, utf8(source), limit_s=2)
        if tree is None or "\r" in source or tree.errors() > 20:
            continue
        for span in spans_of(source, tree, rng, min(per_file, count - done)):
            done += 1
            yield judge(source, span, language, language.name)


def row(language: Language, found: list[Outcome]) -> str:
    """One line of the table."""

    def share(chosen: list[Outcome]) -> str:
        return f"{sum(not one.refused for one in chosen) / len(chosen):.1%}" if len(chosen) >= 10 else "-"

    near = [one for one in found if one.span.what in LINE_LEVEL]
    slack = [one.slack for one in found if one.gap]
    exact = sum(one == 0 for one in slack) / max(1, len(slack))
    figures = [share(near), *(share([one for one in found if one.span.what == what]) for what in ("statement", "body"))]
    reasons = Counter(one.refused.split()[0] for one in found if one.refused)
    why = ", ".join(f"{name} {n}" for name, n in reasons.most_common(4))
    tight = f"{exact:.0%} / {statistics.mean(slack or [0]):.0f}"
    return f"| {language.name} | {len(found)} | {' | '.join(figures)} | {tight} | {why} |"


def show(one: Outcome) -> None:
    """What was cut where, and what the gap said, for whoever mends the rules."""
    source = one.source
    text = source[one.span.start : one.span.end]
    before = source[max(0, one.span.start - 120) : one.span.start]
    print(
        f"--- {one.language.name} {one.span.what}: {one.refused}\n{before}⟦{text[:200]}⟧{source[one.span.end :][:80]}"
    )
    if one.gap:
        print(f"    {one.gap}")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gaps", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--spans", type=int, default=SPANS, help="cuts per language")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--language", action="append", help="only these")
    parser.add_argument("--by-span", action="store_true", help="a line per kind of span as well")
    parser.add_argument("--show", type=int, default=0, help="so many refused cuts, one by one")
    arguments = parser.parse_args()
    files = files_in(arguments.folders)
    print("| language | cuts | on one line | statements | bodies | ends exactly / slack | refused for |")
    print("|---|---|---|---|---|---|---|")
    for language in LANGUAGES:
        if arguments.language and language.name not in arguments.language:
            continue
        found = list(outcomes(language, files[language], arguments.spans, arguments.seed))
        print(row(language, found), flush=True)
        for one in [one for one in found if one.refused][: arguments.show]:
            show(one)
        if arguments.by_span:
            for what in KINDS:
                chosen = [one for one in found if one.span.what == what]
                reasons = Counter(one.refused for one in chosen if one.refused)
                good = sum(not one.refused for one in chosen)
                print(f"    {what}: {good} of {len(chosen)}; {dict(reasons.most_common(6))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
