"""What the filters do to the true text of gaps cut from real files, and to the same text damaged on purpose.

``python -m tests.benchmarks.filters FOLDER_OR_JSONL...`` prints three tables: the truth changed or dropped, per filter
and language, and where a bracket or quote was taken away nearby; damage mended, dropped or missed; what a check costs
in a 10,000-line file.
"""

from __future__ import annotations

import argparse
import gc
import random
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.filters import FILTERS, check
from lsp_server.suggestions.site import Site
from lsp_server.syntax.gaps import find_gap
from lsp_server.syntax.trees import SyntaxTrees
from tests.benchmarks.cuts import Cut, cuts, documents
from tests.benchmarks.damage import DAMAGES, Damage
from tests.benchmarks.long_file import long_file


def first_change(text: str, site: Site) -> str:
    """The filter that first changes a text, "" if none does."""
    for reason, apply in FILTERS.items():
        if apply(text, site.inmost) != text:
            return reason
    return ""


def outcome(cut: Cut, damage: Damage, rng: random.Random) -> tuple[str, str, str] | None:
    """mended, dropped, shortened or missed, with what went in and came out; None where the damage does not apply."""
    damaged = damage(cut, rng)
    if damaged is None or damaged.text == cut.truth:
        return None
    text, _ = check(damaged.text, cut.site, damaged.finish)
    if not text:
        return "dropped", damaged.text, text
    if text == cut.truth:
        return "mended", damaged.text, text
    return ("shortened" if cut.truth.startswith(text) else "missed"), damaged.text, text


def spread(places: list[Path], total: int, per_document: int, seed: int, *, crlf: bool = False) -> Iterator[Cut]:
    """Up to ``total`` cuts of each language, from documents in random order; ``crlf`` gives them other line ends."""
    by_language = defaultdict(list)
    for document in documents(places):
        text = re.sub(r"\r?\n", "\r\n", document.text) if crlf else document.text
        by_language[document.language_id].append(replace(document, text=text))
    for language_id in sorted(by_language):
        found = by_language[language_id]
        random.Random(seed).shuffle(found)
        count = 0
        for document in found:
            for cut in cuts(document, max(per_document, total // len(found)), seed):
                count += 1
                yield cut
            if count >= total:
                break


def timings(checks: int, seed: int) -> list[float]:
    """Milliseconds of processor time of each check of a line gap in a 10,000-line file whose tree is there already."""
    text, _ = long_file()
    whole = DocumentSnapshot("file:///long.py", 0, "python", text)
    rng, trees, spent = random.Random(seed), SyntaxTrees(), list[float]()
    lines = [line for line in text.split("\n") if len(line) > 20]
    gc.collect()
    gc.freeze()  # what the benchmark itself has made is nobody's cost
    while len(spent) < checks:
        line = rng.choice(lines)
        start = text.index(line) + rng.randrange(len(line) // 2, len(line))
        end = text.index("\n", start)
        trees.whole(whole)
        snapshot = DocumentSnapshot(whole.uri, 1, "python", text[:start] + text[end:])
        tree = trees.around(snapshot, start)
        gap = find_gap(snapshot, start, tree)
        if gap is None or not text[start:end].strip():
            continue
        began = time.thread_time()  # the machine may be shared
        check(text[start:end], Site(snapshot, gap, tree))
        spent.append((time.thread_time() - began) * 1000)
    return spent


def _truth_table(taken: list[Cut], show: int) -> None:
    sound = [cut for cut in taken if not cut.near_an_error]
    all_of, harmed, by_shape = (
        Counter(cut.language for cut in sound),
        defaultdict[str, Counter[str]](Counter),
        Counter[str](),
    )
    harmed_nearby = Counter[str]()
    for cut in taken:
        text, _ = check(cut.truth, cut.site)
        if text == cut.truth:
            continue
        reason = first_change(cut.truth, cut.site) or "together"
        shown = harmed[reason].total() if not cut.near_an_error else harmed_nearby[reason]
        if cut.near_an_error:
            harmed_nearby[reason] += 1
        else:
            harmed[reason][cut.language] += 1
            by_shape[cut.shape] += 1
        if shown < show:
            _show(cut, reason, cut.truth, text)
    names, total, nearby = sorted(all_of), len(sound), max(1, len(taken) - len(sound))
    print(f"\n| the truth is changed or dropped | {' | '.join(names)} | all | broken nearby |")
    print(f"|---|{'---|' * (len(names) + 2)}")
    for reason in [*FILTERS, "together"]:
        rates = [f"{harmed[reason][name] / all_of[name]:.1%}" for name in names]
        last = f"{harmed[reason].total() / total:.2%} | {harmed_nearby[reason] / nearby:.2%}"
        print(f"| {reason} | {' | '.join(rates)} | {last} |")
    sums = [f"{sum(harmed[reason][name] for reason in harmed) / all_of[name]:.1%}" for name in names]
    print(
        f"| **any** | {' | '.join(sums)} | **{by_shape.total() / total:.2%}** | {harmed_nearby.total() / nearby:.2%} |"
    )
    print(f"| gaps | {' | '.join(str(all_of[name]) for name in names)} | {total} | {nearby} |")
    print(f"\n{dict(by_shape)} of {dict(Counter(cut.shape for cut in sound))}")


def _damage_table(taken: list[Cut], seed: int, show: int) -> None:
    print("\n| damage | cases | mended | dropped | shortened | missed | caught |\n|---|---|---|---|---|---|---|")
    for damage in DAMAGES:
        rng, seen = random.Random(seed), Counter[str]()
        for cut in taken:
            if cut.near_an_error or not (found := outcome(cut, damage, rng)):
                continue
            seen[found[0]] += 1
            if found[0] == "missed" and seen["missed"] <= show:
                _show(cut, damage.__name__, *found[1:])
        count = sum(seen.values())
        cells = " | ".join(str(seen[name]) for name in ("mended", "dropped", "shortened", "missed"))
        caught = f"{1 - seen['missed'] / count:.1%}" if count else ""
        print(f"| {damage.__name__.replace('_', ' ')} | {count} | {cells} | {caught} |")


def _show(cut: Cut, what: str, given: str, shown: str) -> None:
    text, at = cut.site.snapshot.text, cut.site.gap.start
    print(f"--- {what} · {cut.language} · {cut.shape} · {cut.site.gap.kind} · broken nearby: {cut.near_an_error}")
    print(
        f"    ...{text[max(0, at - 120) : at]!r}\n    ‸{text[at : at + 120]!r}\n    fill {given!r}\n    text {shown!r}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.filters", description=__doc__)
    parser.add_argument("places", nargs="*", type=Path, help="folders, files, or JSONL with path and text")
    parser.add_argument("--gaps", type=int, default=1000, help="of each language")
    parser.add_argument("--per-document", type=int, default=8)
    parser.add_argument("--crlf", action="store_true", help="give every file CRLF line ends")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="so many examples of each failure")
    parser.add_argument("--checks", type=int, default=500, help="timed, in a 10,000-line file; 0 for none")
    asked = parser.parse_args()
    if taken := list(spread(asked.places, asked.gaps, asked.per_document, asked.seed, crlf=asked.crlf)):
        _truth_table(taken, asked.show)
        _damage_table(taken, asked.seed, asked.show)
    if asked.checks:
        hundredths = statistics.quantiles(timings(asked.checks, asked.seed), n=100)
        print(f"\ncheck in a 10,000-line file: p50 {hundredths[49]:.2f} ms, p99 {hundredths[98]:.2f} ms")


if __name__ == "__main__":
    main()
