"""How much faster do lm-eval's tasks run on our engine than on its transformers backend?

    python benchmarks/lm_eval_speed.py --data ../shared/data/mmlu --kind scoring
    python benchmarks/lm_eval_speed.py --data ../shared/data/gsm8k --kind generation

`scoring` is MMLU as its authors put it: five solved questions of the subject, then one with four
choices, of which a letter is scored. `generation` is GSM8K with as many solved ones and answers of
so many tokens. Both sides get the same texts through the same task of lm-eval's, one after the
other in one process, in turn, so often; each of lm-eval's batch sizes is tried once and the fastest
taken. Printed: every pair, the median of the ratios with the least and the greatest, whether the
answers agree, the settings, and how much of the machine's speed in matrix products each side used
(2 N FLOPs a token that has to be read, N the weights a token meets). On a busy machine the ratio of
processor times holds, that of the clock does not. `--profile` prints where our side's time goes,
and measures nothing.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval_sides import GENERATION, SCORING, Ran, Sides, parser

from tutelage.backends.local import LocalLM
from tutelage.evaluate.benchmarks import TASKS
from tutelage.evaluate.benchmarks._task import LETTERS, Question, by_letter
from tutelage.machine.speed import gemm_flops
from tutelage.models.catalogue import layout
from tutelage.models.spec import is_linear


def main() -> None:
    options = _options()
    rows = _rows(options)
    form = SCORING if options.kind == "scoring" else GENERATION.format(tokens=options.tokens)
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(Path(folder), options, rows, form)
        if options.profile:
            _profiled(sides)
            return
        several = options.batches if len(options.batches) > 1 else []
        tried = {batch: sides.theirs(batch).seconds for batch in several}
        best = min(tried, key=lambda batch: tried[batch], default=options.batches[0])
        pairs = [(sides.ours(), sides.theirs(best)) for _ in range(options.pairs)]
    tokens = sum(sides.lm.count_tokens(row["prompt"]) or 0 for row in rows)
    print(f"{options.model} {options.kind}, {len(rows)} questions behind {options.shots} solved "
          f"ones, {tokens:,} tokens of prompts, {options.dtype}, {options.threads} threads, "
          f"torch {torch.__version__}, lm-eval {lm_eval.__version__}")  # fmt: skip
    found = ", ".join(f"{b}: {s:.1f} s" for b, s in tried.items()) or "no other tried"
    print(f"lm-eval's batch sizes: {found}; {best} taken")
    _say(pairs)
    if options.kind == "scoring":
        _say_needed(pairs, 2.0 * _met(sides.lm) * tokens, gemm_flops(options.dtype))


def _options() -> argparse.Namespace:
    made = parser(__doc__, questions=32)
    made.add_argument("--kind", choices=("scoring", "generation"), default="scoring")
    made.add_argument("--subject", default="marketing", help="of MMLU")
    made.add_argument("--shots", type=int, default=5)
    made.add_argument("--tokens", type=int, default=64, help="of an answer")
    made.add_argument("--pairs", type=int, default=5)
    made.add_argument("--profile", action="store_true")
    return made.parse_args()


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    scoring = options.kind == "scoring"
    task = TASKS.get("mmlu" if scoring else "gsm8k")
    asked, shown = (
        [q for q in part(options.data) if not scoring or q.source == options.subject]
        for part in (task.questions, task.examples)
    )
    before = "".join(f"{_text(q)} {_answer(q)}\n\n" for q in shown[: options.shots])
    return [
        {
            "prompt": before + _text(q),
            "gold": _answer(q),
            "choices": list(LETTERS[: len(q.choices)]),
        }
        for q in asked[: options.questions]
    ]


def _text(question: Question) -> str:
    listed = f"\n{by_letter(question.choices)}" if question.choices else ""
    return f"Question: {question.text.strip()}{listed}\nAnswer:"


def _answer(question: Question) -> str:
    return LETTERS[question.right] if question.choices else question.answer


def _say(pairs: list[tuple[Ran, Ran]]) -> None:
    ratios, worked = [], []
    for ours, theirs in pairs:
        same = sum(a == b for a, b in zip(ours.taken, theirs.taken, strict=True))
        ratios.append(theirs.seconds / ours.seconds)
        worked.append(theirs.processor / ours.processor)
        print(f"ours {ours.seconds:.2f} s, lm-eval {theirs.seconds:.2f} s: {ratios[-1]:.2f}x, "
              f"{same} of {len(ours.said)} the same; processor time {ours.processor:.2f} s, "
              f"{theirs.processor:.2f} s: {worked[-1]:.2f}x")  # fmt: skip
    for name, found in (("by the clock", ratios), ("processor time", worked)):
        print(f"median {name} {statistics.median(found):.2f}x, {min(found):.2f} to "
              f"{max(found):.2f}")  # fmt: skip


def _say_needed(pairs: list[tuple[Ran, Ran]], needed: float, peak: float) -> None:
    mine, theirs = (statistics.median(pair[side].seconds for pair in pairs) for side in (0, 1))
    print(
        f"reading every prompt once at the machine's {peak / 1e9:.0f} GFLOP/s would take "
        f"{needed / peak:.1f} s: {needed / peak / theirs:.0%} of lm-eval's {theirs:.1f} s, "
        f"{needed / peak / mine:.0%} of our {mine:.1f} s, which reads what is shared once"
    )


def _met(lm: LocalLM) -> int:
    """Weights that a token is multiplied with."""
    entries = layout(lm.checkpoint.config)
    return sum(int(torch.Size(one.shape).numel()) for one in entries if is_linear(one))


def _profiled(sides: Sides) -> None:
    sides.ours()
    with cProfile.Profile() as profile:
        sides.ours()
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
