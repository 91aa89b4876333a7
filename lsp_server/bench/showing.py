"""Asks for every marked gap as an editor would, and holds what would be shown against what stood there."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsp_server.bench.held_out import MarkedGap, ProjectFile
from lsp_server.bench.projects import on_disk, place_of
from lsp_server.context.nearby import nearby_files
from lsp_server.context.surroundings import Surroundings
from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.options import Options
from lsp_server.positions import utf8
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.suggest import Suggestions, suggest
from lsp_server.syntax.languages import MARKDOWN, language_of
from lsp_server.syntax.trees import parse
from lsp_server.worker_client import WorkerClient

DEADLINE_MS = 60_000


@dataclass(frozen=True)
class Showing:
    """What became of one gap.

    ``spoke``: there was something that the filters let through; it is shown from the ``floor`` on. ``passed``: it is
    exactly what stood there, white space at line ends aside; ``begins_right``: it is whole lines of that, the first and
    so on. ``similarity`` 0..1 is difflib's ratio; ``parses`` is None where there is no grammar or the original does not
    parse. ``proposed``: the text was found elsewhere in the project.
    """

    kind: str
    language_id: str
    place: str
    text: str
    expected: str
    spoke: bool
    passed: bool
    begins_right: bool
    similarity: float
    parses: bool | None
    proposed: bool
    confidence: float
    floor: float
    steps: int
    ms: float

    @property
    def shown(self) -> bool:
        """Whether an editor would have shown it."""
        return self.spoke and self.confidence >= self.floor


@dataclass(frozen=True)
class Asker:
    """Asks ``client`` with an editor's settings, but no floor: which texts a floor lets through is reckoned later.

    ``alone``: no other file of the project is read.
    """

    client: WorkerClient
    options: Options
    seed: int
    alone: bool = False

    async def ask(self, files: Sequence[ProjectFile], done: Callable[[Showing], None]) -> list[Showing]:
        """Fill each gap, and tell ``done``. Raises :class:`WorkerUnavailable` and :class:`WorkerError`."""
        showings = []
        with on_disk(files) as root:
            for file in files:
                for gap in file.gaps:
                    showings.append(await self._showing(root, file, gap))
                    done(showings[-1])
        return showings

    async def _showing(self, root: Path, file: ProjectFile, gap: MarkedGap) -> Showing:
        place = place_of(root, file)
        text = file.text[: gap.start] + file.text[gap.end :]
        snapshot = DocumentSnapshot(place.as_uri(), 0, file.language_id, text)
        exclusions = Exclusions([place_of(root, file, whole=True)])
        nearby = () if self.alone else nearby_files(snapshot, exclusions, self.options)
        began = time.perf_counter()
        found = await suggest(
            snapshot,
            gap.start,
            client=self.client,
            options=self.options,
            invoked=True,
            seed=self.seed,
            surroundings=Surroundings(nearby=nearby),
            exclusions=exclusions,
        )
        ms = (time.perf_counter() - began) * 1000
        return judge(file, gap, snapshot, found, ms)


def judge(file: ProjectFile, gap: MarkedGap, snapshot: DocumentSnapshot, found: Suggestions, ms: float) -> Showing:
    """Hold the first suggestion against what stood in the gap."""
    best = found.items[0] if found.items else None
    filled = snapshot.text[: best.start_offset] + best.text + snapshot.text[best.end_offset :] if best else ""
    expected = file.text[gap.start : gap.end]
    text = best.text if best else ""
    return Showing(
        kind=gap.kind,
        language_id=file.language_id,
        place=f"{file.project}/{file.path}:{gap.start}",
        text=text,
        expected=expected,
        spoke=best is not None,
        passed=best is not None and _without_line_ends(filled) == _without_line_ends(file.text),
        begins_right=best is not None and _begins(expected, text),
        similarity=difflib.SequenceMatcher(None, text, expected, autojunk=False).ratio(),
        parses=_parses(file, filled) if best else None,
        proposed=best is not None and best.proposed,
        confidence=best.confidence if best else 0.0,
        floor=found.result.confidence_floor if found.result else 0.0,
        steps=found.result.usage.denoising_steps if found.result else 0,
        ms=ms,
    )


def _parses(file: ProjectFile, filled: str) -> bool | None:
    """Whether the filled document has no more errors than the original, which must parse."""
    language = language_of(file.language_id, file.path)
    if language is None or language == MARKDOWN:
        return None
    before, after = parse(language, utf8(file.text)), parse(language, utf8(filled))
    if before is None or after is None or before.errors():
        return None
    return not after.errors()


def _begins(expected: str, text: str) -> bool:
    """Whether ``text`` is one or more whole lines at the beginning of ``expected``."""
    lines, given = _without_line_ends(expected), _without_line_ends(text)
    return bool(text.strip()) and lines[: len(given)] == given


def _without_line_ends(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
