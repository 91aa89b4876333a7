"""Records the real model filling a gap, as an animated SVG: ``python -m tests.support.record_cast OUT.svg SEED``."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.terminal_theme import MONOKAI

from inference.protocol import Draft
from lsp_server.commands.canvas_view import CanvasView
from lsp_server.commands.ready_worker import ready_worker
from lsp_server.options import Options
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.source_file import SourceFile
from lsp_server.suggestions.suggest import suggest

COLUMNS, CELL, LINE = 100, 8.4, 18
FRAME_S, HOLD_S = 0.45, 3.0


def picture(renderable: RenderableType) -> tuple[str, int]:
    """SVG text elements of a picture, and its height in lines."""
    console = Console(width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    lines = console.render_lines(renderable, pad=False)
    return "".join(_line(line, index) for index, line in enumerate(lines)), len(lines)


def _line(segments: list[Segment], index: int) -> str:
    spans = []
    for segment in segments:
        style = segment.style
        colour = style.color.get_truecolor(MONOKAI).hex if style and style.color else "#d9d9d9"
        weight = ' font-weight="bold"' if style and style.bold else ""
        spans.append(f'<tspan fill="{colour}"{weight}>{escape(segment.text)}</tspan>')
    width = sum(segment.cell_length for segment in segments) * CELL
    place = f'x="12" y="{(index + 1) * LINE + 6}" textLength="{width:.0f}" xml:space="preserve"'
    return f"<text {place}>{''.join(spans)}</text>"


def animate(pictures: list[RenderableType]) -> str:
    """One SVG that shows the pictures in turn, holds the last one, and begins again."""
    drawn = [picture(renderable) for renderable in pictures]
    height = max(lines for _, lines in drawn) * LINE + 24
    total = FRAME_S * (len(drawn) - 1) + HOLD_S
    frames = []
    for index, (body, _) in enumerate(drawn):
        start = index * FRAME_S / total
        end = 1.0 if index == len(drawn) - 1 else (index + 1) * FRAME_S / total
        times = f"0;{start:.4f};{end:.4f};1" if index else f"0;0;{end:.4f};1"
        still = "visible" if index == len(drawn) - 1 else "hidden"  # for viewers that do not animate
        frames.append(
            f'<g visibility="{still}"><animate attributeName="visibility" dur="{total:.2f}s" repeatCount="indefinite" '
            f'calcMode="discrete" keyTimes="{times}" values="hidden;visible;hidden;hidden"/>{body}</g>'
        )
    width = COLUMNS * CELL + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-size="14" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace"><rect width="100%" height="100%" rx="8" '
        f'fill="#1b1d1e"/>{"".join(frames)}</svg>\n'
    )


async def record(snapshot: DocumentSnapshot, name: str, offset: int, seed: int) -> list[RenderableType]:
    """The pictures of one gap being filled by the default model."""
    view = CanvasView(name, snapshot.text[:offset], snapshot.text[offset:])
    drafts: list[Draft] = []
    async with ready_worker(None) as client:
        options = Options(confidence_floor=0.0)
        found = await suggest(
            snapshot, offset, client=client, options=options, invoked=True, seed=seed, on_draft=drafts.append
        )
    last = view.done(found.items[0].text, f"confidence {found.items[0].confidence:.2f}")
    return [view.waiting(), *map(view.draft, drafts), last]


def main() -> None:
    """Record the README's own example."""
    source = SourceFile.read(Path(__file__).parent.parent / "data/samples/inventory.py")
    offset = source.text.index("self.items[name] = \n") + len("self.items[name] = ")
    snapshot = DocumentSnapshot(uri=source.path.as_uri(), version=0, language_id="python", text=source.text)
    pictures = asyncio.run(record(snapshot, source.path.name, offset, seed=int(sys.argv[2])))
    Path(sys.argv[1]).write_text(animate(pictures), encoding="utf-8")


if __name__ == "__main__":
    main()
