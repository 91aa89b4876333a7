"""A user's repository as a chat dataset, for LoRA training of DiffusionGemma with other tools.

One JSON object per line, `{"messages": [user, assistant]}`, which NeMo's and Unsloth's chat datasets read as they are.
The turns are worded as the server words them for checkpoints that were not trained to fill gaps.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from inference.training.corpus import Document
from inference.training.examples import context
from inference.training.spans import draw_span, excerpt

CHARACTERS_PER_EXAMPLE = 600  # of the repository, for one gap
BUDGET = 512  # tokens of context on each side
OPENING = (
    "Fill the gap in a file. Between <suffix> and </suffix> stands what follows the gap, between <prefix> and "
    "</prefix> what precedes it, up to where your answer takes over. Go on from there: write what is missing in the "
    "gap, then the first words of the suffix, and stop. Write file content only: no explanation, no code fence.\n"
    "Language: {language}\n<suffix>\n"
)
BETWEEN = "\n</suffix>\n<prefix>\n"
CLOSING = "\n</prefix>"


def write_dataset(documents: Sequence[Document], path: Path, seed: int) -> int:
    """Write gaps of all kinds drawn from `documents`; returns how many. A file that is there is a `FileExistsError`."""
    if path.exists():
        raise FileExistsError(f"{path} is there already; name another file")
    rng = random.Random(seed)
    lines: list[str] = []
    for document in documents:
        for _ in range(-(-len(document.text) // CHARACTERS_PER_EXAMPLE)):
            lines.append(json.dumps({"messages": _turns(document, rng)}, ensure_ascii=False))
    rng.shuffle(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _turns(document: Document, rng: random.Random) -> list[dict[str, str]]:
    text = excerpt(document.text, rng)
    span = draw_span(text, document.language, rng)
    prefix, suffix = context(text, span.start, span.end, BUDGET // 2)
    border = prefix.rfind("\n") + 1  # the line of the cursor opens the answer
    head, line_break, _ = suffix.partition("\n")
    question = OPENING.format(language=document.language) + suffix + BETWEEN + prefix[:border] + CLOSING
    answer = prefix[border:] + text[span.start : span.end] + head + line_break
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
