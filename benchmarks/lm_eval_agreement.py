"""Does lm-eval say the same on our engine as on its transformers backend?

    python benchmarks/lm_eval_agreement.py --data ../shared/data/commonsense_mc --batches 8

Both read the same folder in float32, through the same task of lm-eval's, one after the other in one
process. Printed: the largest difference of a log-likelihood, questions with another choice, and the
seconds each took.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from lm_eval_sides import SCORING, Ran, Sides, parser

from tutelage.evaluate.benchmarks import TASKS


def main() -> None:
    made = parser(__doc__, questions=40)
    made.add_argument("--task", default="arc_easy")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(Path(folder), options, _rows(options), SCORING)
        _say(sides.ours(), sides.theirs(options.batches[-1]))


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    asked = list(TASKS.get(options.task).questions(options.data))[: options.questions]
    return [
        {"prompt": f"Question: {one.text}\nAnswer:", "choices": list(one.choices),
         "gold": one.right}
        for one in asked
    ]  # fmt: skip


def _say(ours: Ran, theirs: Ran) -> None:
    pairs = [
        (a, b) for x, y in zip(ours.said, theirs.said, strict=True)
        for a, b in zip(x, y, strict=True)
    ]  # fmt: skip
    taken = zip(ours.taken, theirs.taken, strict=True)
    other = [place for place, (one, another) in enumerate(taken) if one != another]
    print(f"largest difference of a log-likelihood {max(abs(a - b) for a, b in pairs):.2e} nats")
    print(f"questions with another choice: {other or 'none'} of {len(ours.said)}")
    for name, one in (("ours", ours), ("transformers", theirs)):
        scores = {metric: round(value, 4) for metric, value in one.scores.items()}
        print(f"{name}: {one.seconds:.1f} s, {scores}")
    print(f"ratio {theirs.seconds / ours.seconds:.2f}")


if __name__ == "__main__":
    main()
