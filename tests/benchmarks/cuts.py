"""Gaps cut from real files, with the text that stood in them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.site import Site
from lsp_server.syntax.cursor import CLOSERS, indent_of
from lsp_server.syntax.gaps import EndRule, find_gap
from lsp_server.syntax.languages import language_id_of, language_of
from lsp_server.syntax.trees import SyntaxTrees

_LONGEST = 200_000
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Document:
    """One real file."""

    path: str
    language_id: str
    text: str


@dataclass(frozen=True)
class Cut:
    """A gap and the text that stood in it, with LF line ends; ``near_an_error`` says that the file is broken nearby."""

    site: Site
    truth: str
    shape: str
    near_an_error: bool

    @property
    def language(self) -> str:
        """The name of the language that the gap's document is in."""
        return self.site.tree.language.name if self.site.tree else self.site.snapshot.language_id


def documents(places: list[Path]) -> Iterator[Document]:
    """The files below folders, and those in JSONL files with ``path`` and ``text``, that have a grammar."""
    for place in places:
        if place.suffix == ".jsonl":
            for line in place.open(encoding="utf-8"):
                entry = json.loads(line)
                yield from _readable(entry["path"], entry["text"])
            continue
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and language_of(language_id_of(path)):
                try:
                    yield from _readable(str(path), path.read_bytes().decode("utf-8"))
                except (OSError, UnicodeDecodeError):
                    continue


def _readable(path: str, text: str) -> Iterator[Document]:
    language_id = language_id_of(Path(path))
    if language_of(language_id) and 200 < len(text) < _LONGEST and ".min." not in path and "\0" not in text:
        yield Document(path, language_id, text)


def cuts(document: Document, count: int, seed: int) -> Iterator[Cut]:
    """At most ``count`` gaps of a document, a quarter of them in a text that is broken elsewhere, too."""
    rng = random.Random(f"{seed} {document.path}")
    trees = SyntaxTrees()
    for number in range(count):
        text = document.text
        start, end, shape = rng.choice(_SHAPES)(text, rng)
        if end <= start:
            continue
        broken = number % 4 == 3 and _break_nearby(text, start, end, rng)
        if broken:
            text, start, end = broken
        if cut := _cut(document, text, start, end, shape, trees, bool(broken)):
            yield cut


def _cut(
    document: Document, text: str, start: int, end: int, shape: str, trees: SyntaxTrees, broken: bool
) -> Cut | None:
    truth = text[start:end]
    for _ in range(2):
        snapshot = DocumentSnapshot(f"file:///{document.path}", 1, document.language_id, text[:start] + text[end:])
        tree = trees.around(snapshot, start)
        gap = find_gap(snapshot, start, tree)
        if gap is None or gap.start != start or gap.end != start:
            return None
        site = Site(snapshot, gap, tree)
        within = truth if gap.may_span_lines else re.split(r"\r\n|\n|\r", truth)[0]
        if within == truth:
            break
        truth, end = within, start + len(within)
    truth = re.sub(r"\r\n|\r", "\n", truth)
    return Cut(site, truth, shape, broken) if _is_possible(site, truth) else None


def _is_possible(site: Site, truth: str) -> bool:
    """Whether a gap as it was found may hold the truth at all, by the rules of the gap alone."""
    gap, lines = site.gap, truth.split("\n")
    if "```" in truth or "~~~" in truth:
        return False
    if not any(char.isalnum() for char in truth) or re.search(r"[ \t](?=\n|$)", truth):
        return False
    if len(truth) > gap.max_tokens * _CHARACTERS_PER_TOKEN or (len(lines) > 1 and not gap.may_span_lines):
        return False
    if gap.end_rule is EndRule.CLOSER and gap.closer not in CLOSERS and gap.closer in truth:
        return False
    if gap.end_rule in (EndRule.STATEMENT, EndRule.PARAGRAPH) and "" in [line.strip() for line in lines]:
        return False
    if gap.end_rule in (EndRule.STATEMENT, EndRule.DEDENT):
        if site.is_on_blank_line and site.before != gap.indent:
            return False
        return all(line.startswith(gap.indent) for line in lines[1:] if line.strip())
    return True


def _line_bounds(text: str, rng: random.Random) -> tuple[int, int]:
    at = rng.randrange(len(text))
    start = max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1
    found = re.compile(r"\r\n|\n|\r|$").search(text, at)
    end = found.start() if found else len(text)
    return (start, end) if end >= start else (start, start)


def _line_tail(text: str, rng: random.Random) -> tuple[int, int, str]:
    start, end = _line_bounds(text, rng)
    line = text[start:end]
    places = [
        m.start() for m in re.finditer(r"(?<=\S)\b|(?<=[^\w\s])|(?<=\S\s)(?=\S)", line) if line[: m.start()].strip()
    ]
    if rng.random() < 0.1:
        places = [m.start() + 2 for m in re.finditer(r"\w{3,}", line)]
    return (start + rng.choice(places), end, "line tail") if places else (0, 0, "")


def _whole_line(text: str, rng: random.Random) -> tuple[int, int, str]:
    start, end = _line_bounds(text, rng)
    return start + len(indent_of(text[start:end])), end, "line"


def _bracket(text: str, rng: random.Random) -> tuple[int, int, str]:
    start, end = _line_bounds(text, rng)
    line = text[start:end]
    openers = [m.start() for m in re.finditer(r"[(\[{](?=[^()\[\]{}])", line)]
    if not openers:
        return 0, 0, ""
    opener = rng.choice(openers)
    depth = 0
    for index in range(opener, len(line)):
        depth += (line[index] in "([{") - (line[index] in ")]}")
        if depth == 0:
            return start + opener + 1, start + index, "bracket"
    return 0, 0, ""


def _block(text: str, rng: random.Random) -> tuple[int, int, str]:
    start, _ = _line_bounds(text, rng)
    found = re.compile(rf"(?:[^\n]*\n){{{rng.randint(1, 7)}}}[^\r\n]*").match(text, start)
    if not found:
        return 0, 0, ""
    indent = indent_of(text[start : found.end()])
    if "\n" in indent:
        return 0, 0, ""
    end = start + len(found[0])
    for match in re.finditer(r"\n(?P<lead>[ \t]*)(?P<rest>[^\r\n]*)", text[start:end]):
        if match["rest"] and not match["lead"].startswith(indent):
            end = start + match.start()
            break
    body = text[start:end].rstrip()
    return start + len(indent), start + len(body), "block"


_SHAPES: list[Callable[[str, random.Random], tuple[int, int, str]]] = [_line_tail, _whole_line, _bracket, _block]


def _break_nearby(text: str, start: int, end: int, rng: random.Random) -> tuple[str, int, int] | None:
    """The text without one bracket or quote that stood on another line at most 2,000 characters away."""
    begin, stop = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    places = [
        m.start()
        for m in re.finditer(r"[()\[\]{}\"']", text)
        if begin - 2000 < m.start() < begin or (stop > 0 and stop < m.start() < stop + 2000)
    ]
    if not places:
        return None
    at = rng.choice(places)
    moved = 1 if at < start else 0
    return text[:at] + text[at + 1 :], start - moved, end - moved
