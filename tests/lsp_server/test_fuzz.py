"""Server text, tree and the editor's text never part in 10,000 random edits; ``tests.benchmarks.fuzz`` does more."""

import pytest

from lsp_server.positions import Encoding, LineIndex
from tests.support.fuzzer import ENCODINGS, SEEDS, Parted, fuzz

EDITS = 10_000
CASES = [(language, encoding) for language in SEEDS for encoding in ENCODINGS]


@pytest.mark.parametrize(("language", "encoding"), CASES)
async def test_they_never_part(language: str, encoding: str) -> None:
    await fuzz(language, encoding, seed=0, edits=-(-EDITS // len(CASES)))


async def test_it_is_noticed_when_they_part(monkeypatch: pytest.MonkeyPatch) -> None:
    offset = LineIndex.offset
    monkeypatch.setattr(
        LineIndex, "offset", lambda self, line, character, _: offset(self, line, character, Encoding.UTF32)
    )
    with pytest.raises(Parted):
        await fuzz("python", "utf-16", seed=0, edits=500)
