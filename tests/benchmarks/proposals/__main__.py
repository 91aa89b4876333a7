"""``python -m tests.benchmarks.proposals fit|measure|speed|write --corpus FILE``.

``fit`` needs numpy and reads training packages, ``measure`` held-out ones (both as ``inference.training.corpus``
writes them). Gaps are drawn evenly over packages as in ``inference.training.evaluate``; a rest of a line that is
punctuation only is no gap here, because the filters show none such. ``write`` makes cases for
``python -m inference.training calibrate``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lsp_server.proposals import evidence
from tests.benchmarks.proposals.cases import read
from tests.benchmarks.proposals.measure import measure
from tests.benchmarks.proposals.speed import speed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.proposals", description=__doc__)
    parser.add_argument("what", choices=("fit", "measure", "speed", "write"))
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--gaps", type=int, default=0, help="per language (fit: 1500, measure: 450, write: 260)")
    parser.add_argument("--share", type=float, default=1.0, help="of the corpus that write draws from")
    parser.add_argument("--out", type=Path, help="what write writes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.what == "fit":
        from tests.benchmarks.proposals.fit import fit, write

        gaps = arguments.gaps or 1500
        command = f"python -m tests.benchmarks.proposals fit --corpus TRAINING --gaps {gaps} --seed {arguments.seed}"
        write(Path(evidence.__file__).with_name("evidence.json"), fit(arguments.corpus, gaps, arguments.seed, command))
    elif arguments.what == "measure":
        for line in measure(arguments.corpus, arguments.gaps or 450, arguments.seed):
            print(line)
    elif arguments.what == "write":
        from tests.benchmarks.proposals.write import write as write_cases

        out = arguments.out or parser.error("write needs --out FILE")
        total = write_cases(arguments.corpus, out, arguments.gaps or 260, arguments.share, arguments.seed)
        print(f"{out}: {total} gaps")
    else:
        print("| text | p50 ms | p99 ms | most ms |\n|---|---|---|---|")
        for name, *times in speed(read(arguments.corpus, ("python",))["python"]):
            print(f"| {name} | {' | '.join(f'{one:.2f}' for one in times)} |", flush=True)


if __name__ == "__main__":
    main()
