"""Gaps marked in held-out documents: seeded, of every kind, and never empty."""

import json
from pathlib import Path

from inference.training import cases
from tests.support.toy_training import DOCUMENTS


def test_every_kind_gets_its_gaps_and_every_document_its_line(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    total = cases.write(DOCUMENTS, 5, 0, path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["path"] for line in lines] == [document.path for document in DOCUMENTS]
    gaps = [(gap, line["text"]) for line in lines for gap in line["gaps"]]
    assert len(gaps) == total > 0
    languages = {document.language for document in DOCUMENTS}
    asked = [(kind, language) for kind, all_of in cases.KINDS.items() for language in all_of if language in languages]
    assert total == 5 * len(asked)
    assert all(text[gap["start"] : gap["end"]].strip() for gap, text in gaps)


def test_a_seed_repeats_and_another_differs() -> None:
    first, again, other = (list(cases.mark(DOCUMENTS, 5, seed)) for seed in (0, 0, 1))
    assert first == again != other
