"""An editor that edits at random, keeps its own text by its own reckoning, and compares it with the server's.

Nothing of ``lsp_server.positions`` is used here: an error there must not be made twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import Any

from lsp_server.positions import LineIndex, utf8
from lsp_server.syntax.languages import language_of
from lsp_server.syntax.trees import SyntaxTrees, parse
from tests.support.wire import Wire

ENCODINGS = ("utf-8", "utf-16", "utf-32")
SEEDS = {
    "python": "def total(items):\n    # süm\n    return sum(item.price for item in items)\n\n\nclass Cart:\n    pass\n",
    "typescript": "export function area(w: number): string {\r\n  return `${w} 😀`;\r\n}\r\n",
    "markdown": "# Tïtle\n\n- one\n- two\n\n```python\nx = 1\n```\n\n| a | b |\n|---|---|\n",
    "rust": 'fn main() {\n    let s = "é";\n    println!("{}", s);\n}\n',
    "json": '{"a": [1, 2, {"b": "\U0001f600"}]}\n',
    "plaintext": "nothing\rbut\u2028words\x0c\n",
}
_PIECES = (
    " ", "\n", "\r\n", "\r", "(", ")", "{", "}", "[", "]", '"', "'", "`", ":", "#", "x", "é",
    "😀", "👩‍👩‍👧", "\t", "    ",
    "\u2028", "\x0b", "\x00", "\ufeff", "def f(x):\n    return x\n", "// ü\n", "```\n", "/*", "*/", "\u0301", "return ",
    "if (a) {\r\n", "\ud83d",
)  # fmt: skip
_LONGEST = 4000
_ANSWER_EVERY, _TREE_EVERY = 40, 10


class Parted(AssertionError):  # noqa: N818 - what happened, not an error of the fuzzer
    """Server and editor no longer have the same text; the message says after which edit of which seed."""


@dataclass
class Fuzzer:
    """Edits one document of ``language_id`` in ``encoding``; ``seed`` repeats it."""

    wire: Wire
    language_id: str
    encoding: str
    seed: int

    def __post_init__(self) -> None:
        self.rng = Random(f"{self.seed}/{self.language_id}/{self.encoding}")
        self.uri = f"file:///fuzz/{self.language_id}.{self.seed}"
        self.text = SEEDS[self.language_id]
        self.version = 1
        self.undo: list[str] = []

    async def run(self, edits: int) -> None:
        """Make so many edits and compare after each. Raises :class:`Parted`."""
        self.wire.open(self.text, self.uri, self.language_id)
        for number in range(edits):
            self.edit()
            self._compare(f"edit {number} of seed {self.seed}, {self.language_id}, {self.encoding}", number)
            if number % _ANSWER_EVERY == 0:
                await self._ask()
        self.wire.send("textDocument/didClose", {"textDocument": {"uri": self.uri}})

    def edit(self) -> None:
        """One version: some changes, each to the text that the one before it left; now and then all of it, or undo."""
        changes: list[dict[str, Any]] = []
        before = self.text
        if self.undo and self.rng.random() < 0.1:
            changes.append(self._whole(self.undo.pop()))
        elif self.rng.random() < 0.02 or len(self.text) > _LONGEST:
            changes.append(self._whole(SEEDS[self.language_id]))
        else:
            changes += [self._part() for _ in range(self.rng.choice((1, 1, 1, 2, 3)))]
            self.undo = [*self.undo[-5:], before]
        self.version += self.rng.choice((1, 1, 1, 2))
        document = {"uri": self.uri, "version": self.version}
        self.wire.send("textDocument/didChange", {"textDocument": document, "contentChanges": changes})

    def _whole(self, text: str) -> dict[str, Any]:
        self.text = text
        return {"text": text}

    def _part(self) -> dict[str, Any]:
        start = self.rng.randrange(len(self.text) + 1)
        end = min(len(self.text), start + self.rng.choice((0, 0, 0, 1, 1, 2, 5, 40)))
        new = "".join(self.rng.choice(_PIECES) for _ in range(self.rng.choice((0, 1, 1, 1, 2, 4))))
        span = {"start": self._position(start), "end": self._position(end)}
        if self.rng.random() < 0.05:
            span["end"]["character"] += 1000  # an editor that is a little off: the line's end is meant
            end = max(start, self._offset(span["end"]))
        start, end = self._offset(span["start"]), self._offset(span["end"])
        self.text = self.text[:start] + new + self.text[max(start, end) :]
        return {"range": span, "text": new}

    def _position(self, offset: int) -> dict[str, int]:
        head = re.split(r"\r\n|\r|\n", self.text[:offset])
        if offset and self.text[offset - 1] == "\r" and self.text[offset : offset + 1] == "\n":
            head.pop()  # between the two, which is the end of the line that they end
        return {"line": len(head) - 1, "character": self._units(head[-1])}

    def _offset(self, position: dict[str, int]) -> int:
        ends = [match.span() for match in re.finditer(r"\r\n|\r|\n", self.text)]
        line = position["line"]
        if line > len(ends):
            return len(self.text)
        begin = ends[line - 1][1] if line else 0
        content = self.text[begin : ends[line][0] if line < len(ends) else len(self.text)]
        left = position["character"]
        for count, char in enumerate(content):
            if left < self._units(char):
                return begin + count
            left -= self._units(char)
        return begin + len(content)

    def _units(self, text: str) -> int:
        if self.encoding == "utf-32":
            return len(text)
        name, size = ("utf-8", 1) if self.encoding == "utf-8" else ("utf-16-le", 2)
        return len(text.encode(name, "surrogatepass")) // size

    def _compare(self, place: str, number: int) -> None:
        snapshot = self.wire.session.documents.get(self.uri)
        if snapshot is None or snapshot.text != self.text or snapshot.version != self.version:
            raise Parted(f"the server has another text after {place}")
        if [snapshot.lines.start(line) for line in range(len(snapshot.lines))] != _starts(self.text):
            raise Parted(f"the server counts other lines after {place}")
        if number % _TREE_EVERY:
            return
        tree = self.wire.session.trees.whole(snapshot)
        language = language_of(self.language_id)
        if language is None or tree is None:
            if language is not None:
                raise Parted(f"there is no tree after {place}")
            return
        fresh = parse(language, utf8(self.text))
        if tree.source != utf8(self.text) or tree.root.end_byte > len(tree.source):
            raise Parted(f"the tree is of another text after {place}")
        # Where the text does not parse, tree-sitter may mend it in another way from where it was before.
        if fresh is not None and not fresh.root.has_error and str(fresh.root) != str(tree.root):
            raise Parted(f"the tree was not kept up to date after {place}")

    async def _ask(self) -> None:
        """One request, one answer, for this text: its ranges lie on the cursor's line."""
        position = self._position(self.rng.randrange(len(self.text) + 1))
        params = {"textDocument": {"uri": self.uri}, "position": position, "context": {"triggerKind": 1}}
        answer = await self.wire.ask("textDocument/inlineCompletion", params)
        for item in answer["result"] or []:
            start, end = item["range"]["start"], item["range"]["end"]
            if start["line"] != end["line"] or start != self._position(self._offset(start)):
                raise Parted(f"a suggestion outside of the text, seed {self.seed}: {item['range']}")


def _starts(text: str) -> list[int]:
    fresh = LineIndex(text)
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]
    assert [fresh.start(line) for line in range(len(fresh))] == starts
    return starts


async def fuzz(language_id: str, encoding: str, seed: int, edits: int) -> None:
    """One server, one document."""
    wire = Wire(fills=["value"])
    wire.session.trees = SyntaxTrees(limit_s=60.0)  # a slow machine is not what is looked for
    await wire.start({"general": {"positionEncodings": [encoding]}}, initializationOptions={"speculate": False})
    await Fuzzer(wire, language_id, encoding, seed).run(edits)
