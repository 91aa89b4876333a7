"""The canvas denoising, as pictures for a terminal: one for each step."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

from inference.protocol import Draft

CONTEXT_LINES = 6
"""Lines shown above and below the gap."""

_GIVEN, _NOISE, _ACCEPTED = "grey62", "red", "bold green"


@dataclass(frozen=True)
class CanvasView:
    """The text around a gap, with room for what stands in it."""

    title: str
    prefix: str
    suffix: str

    def waiting(self) -> RenderableType:
        """Before the first step."""
        return self._picture(Text("▒" * 12, style=_NOISE), "waiting for the model")

    def draft(self, draft: Draft) -> RenderableType:
        """After one step: accepted tokens firm, the rest as the noise that it is."""
        gap = Text()
        for token in draft.tokens:
            # A line break that is still noise must not make the picture jump.
            shown = token.text if token.accepted else token.text.replace("\n", "↵").replace("\r", "")
            gap.append(shown, style=_ACCEPTED if token.accepted else _NOISE)
        accepted = sum(token.accepted for token in draft.tokens)
        bar = "█" * draft.step + "░" * max(0, draft.max_steps - draft.step)
        return self._picture(gap, f"step {draft.step}/{draft.max_steps} {bar} {accepted}/{len(draft.tokens)} accepted")

    def done(self, fill: str, note: str) -> RenderableType:
        """The final text."""
        return self._picture(Text(fill, style=_ACCEPTED), note)

    def _picture(self, gap: Text, note: str) -> RenderableType:
        before = "\n".join(self.prefix.split("\n")[-CONTEXT_LINES:])
        after = "\n".join(self.suffix.split("\n")[:CONTEXT_LINES])
        body = Text.assemble((before, _GIVEN), gap, (after, _GIVEN))
        return Panel(body, title=self.title, title_align="left", subtitle=note, subtitle_align="right")
