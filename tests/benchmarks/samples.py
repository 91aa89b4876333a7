"""The ten shipped samples as the default model fills them: ``python -m tests.benchmarks.samples``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lsp_server.commands.complete import CANDIDATES, DEADLINE_MS
from lsp_server.commands.ready_worker import ready_worker
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.source_file import SourceFile
from lsp_server.suggestions.suggest import Suggestions, suggest
from lsp_server.syntax.languages import language_id_of

FOLDER = Path(__file__).parent.parent / "data/samples"


async def fill_all(samples: list[dict[str, str]]) -> list[Suggestions]:
    """Fill each sample's gap as ``lacuna complete --seed 0`` does."""
    options = Options(confidence_floor=0.0, deadline_ms=DEADLINE_MS, candidates=CANDIDATES)
    found = []
    async with ready_worker(None) as client:
        for sample in samples:
            source = SourceFile.read(FOLDER / sample["file"])
            uri, language = source.path.as_uri(), language_id_of(source.path)
            snapshot = DocumentSnapshot(uri=uri, version=0, language_id=language, text=source.text)
            line, column = map(int, sample["at"].split(":"))
            offset = snapshot.lines.offset(line - 1, column - 1, Encoding.UTF32)
            found.append(await suggest(snapshot, offset, client=client, options=options, invoked=True, seed=0))
    return found


def main() -> None:
    samples = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
    table = Table("sample", "a person would write", "the model's fill", "confidence", "raw, most confident first")
    for sample, found in zip(samples, asyncio.run(fill_all(samples)), strict=True):
        best = found.items[0] if found.items else None
        raw = [choice.fills[0].text for choice in found.result.choices] if found.result else []
        table.add_row(
            f"{sample['file']}:{sample['at']}",
            escape(sample["person_would_write"]),
            escape(best.text) if best else f"[dim]({found.silence})[/]",
            f"{best.confidence:.2f}" if best else "",
            escape(" | ".join(map(repr, raw))),
        )
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
