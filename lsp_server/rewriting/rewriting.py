"""Rewrites a selection, and lets nothing through that leaves the document worse than it was."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace

from inference.protocol import EditRequest
from lsp_server.canvas import as_model_text
from lsp_server.options import Options
from lsp_server.rewriting.changes import Change, minimal
from lsp_server.rewriting.filling import document_key, line_start_within
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.cursor import Cursor, indent_of
from lsp_server.syntax.languages import model_language_id
from lsp_server.syntax.trees import SyntaxTrees
from lsp_server.worker_client import WorkerClient

STRENGTH = 0.5
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffd\ud800-\udfff]")
_FENCED = re.compile(r"\s*```[^\n`]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)


@dataclass(frozen=True)
class Rewritten:
    """The ``changes`` to the document, or none and ``reason`` says why."""

    changes: tuple[Change, ...] = ()
    reason: str = ""


def selection(snapshot: DocumentSnapshot, start: int, end: int) -> tuple[int, int]:
    """What a selection is meant to be: an empty one is its line, and white space at both ends is left alone."""
    if start == end:
        line = snapshot.lines.line_of(start)
        start, end = snapshot.lines.start(line), snapshot.lines.end(line)
    chosen = snapshot.text[start:end]
    bare = chosen.strip()
    if not bare:
        return start, start
    start += chosen.index(bare[0])
    return start, start + len(bare)


async def rewrite(
    snapshot: DocumentSnapshot,
    start: int,
    end: int,
    *,
    client: WorkerClient,
    options: Options,
    deadline_ms: int,
    instruction: str = "",
    strength: float = STRENGTH,
) -> Rewritten:
    """Have the text between two offsets rewritten. Raises what the client raises."""
    start, end = selection(snapshot, start, end)
    if start == end:
        return Rewritten(reason="there is nothing to rewrite")
    text, eol = snapshot.text, snapshot.line_ending
    first = line_start_within(text, start - options.prefix_characters)
    request = EditRequest(
        selection=as_model_text(text[start:end], eol),
        prefix=as_model_text(text[first:start], eol),
        suffix=as_model_text(text[end : end + options.suffix_characters], eol),
        instruction=instruction,
        strength=strength,
        language_id=model_language_id(snapshot.language_id, snapshot.uri),
        document=document_key(snapshot.uri),
        deadline_ms=deadline_ms,
    )
    result = await client.edit(request)
    reason = "the model has nothing to say"
    for choice in result.choices:
        answer = choice.fills[0].text if choice.fills else ""
        rewritten, reason = await asyncio.to_thread(checked, answer, snapshot, start, end)
        if rewritten:
            return Rewritten(minimal(text[start:end], rewritten, start))
    return Rewritten(reason=reason)


def checked(answer: str, snapshot: DocumentSnapshot, start: int, end: int) -> tuple[str, str]:
    """The answer as it may stand between two offsets, and ""; or "" and why it may not.

    It begins where the selection began, is indented as deep, has the document's line ends, and breaks the syntax in no
    more places than are broken now.
    """
    before = snapshot.text[start:end]
    text = answer.replace("\r\n", "\n").replace("\r", "\n")
    if (fenced := _FENCED.fullmatch(text)) and "```" not in before:
        text = fenced[1]
    text = _indented_as(text, Cursor(snapshot, start).before, before).strip()
    if not text:
        return "", "the model leaves nothing of it"
    if _CONTROL.search(text) and not _CONTROL.search(before):
        return "", "noise"
    text = text.replace("\n", snapshot.line_ending)
    if text == before:
        return "", "the model leaves it as it is"
    edited = replace(snapshot, text=snapshot.text[:start] + text + snapshot.text[end:])
    trees = SyntaxTrees()
    now = trees.whole(snapshot)
    then = trees.whole(edited) if now else None
    if now and then and then.errors() > now.errors():
        return "", "breaks the syntax"
    return text, ""


def _indented_as(text: str, left: str, before: str) -> str:
    """The lines behind the first as deep as they were, whatever indentation the model gave the first.

    ``left`` is what stands left of the selection on its line.
    """
    text = text.strip("\n").rstrip()
    given, wanted = indent_of(text), "" if left.strip() else left
    first, *rest = text.split("\n")
    if not left.strip() and given != wanted and (given or _is_flush(rest, before, wanted)):
        rest = [_moved(line, given, wanted) for line in rest]
    return "\n".join([first.lstrip(), *(line if line.strip() else "" for line in rest)])


def _is_flush(rest: list[str], before: str, wanted: str) -> bool:
    """Whether an answer without indentation lost it: its further lines begin left of where the selection's did."""
    others = [line for line in before.replace("\r", "\n").split("\n")[1:] if line.strip()]
    stays_deep = all(line.startswith(wanted) for line in others)
    return stays_deep and any(line.strip() and not line.startswith(wanted) for line in rest)


def _moved(line: str, given: str, wanted: str) -> str:
    return wanted + line[len(given) :] if line.strip() and line.startswith(given) else line
