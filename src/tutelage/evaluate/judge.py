"""A model as judge of pairs of answers, asked in both orders, and how far it agrees with people.

    judged = judge(lm, pairs)          # any model behind the seam
    agreement(pairs, judged)           # against labels of people

Each pair is put twice, the second time the other way round (Zheng et al. 2023, arXiv:2306.05685,
section 3.4): a judge that names the same place both times has said nothing of the answers, which
counts as a tie. Where a model gives probabilities the letters A and B are scored, else one is
written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from tutelage.errors import DataError
from tutelage.evaluate.statistics import compare, measured
from tutelage.lm import LM, Message, Prompt, Request, complete
from tutelage.progress import Progress, silent
from tutelage.score._metric import mean

Side = Literal[0, 1, 2]
"""The first or the second answer is better, or neither."""
BATCH = 16
MOST_TOKENS = 16
INSTRUCTION = (
    "Which answer follows the instruction better? Judge by whether it does what is asked, and "
    "correctly; length, order and style do not count. Say A or B alone."
)
_LETTER = re.compile(r"\b([AB])\b")


@dataclass(frozen=True)
class Pair:
    """An instruction, two answers, and what each of some people said is better."""

    id: str
    instruction: str
    first: str
    second: str
    labels: tuple[Side, ...] = ()

    @property
    def label(self) -> Side:
        """What most said; without a majority, neither."""
        (most, count), *rest = Counter(self.labels).most_common()
        return 0 if rest and rest[0][1] == count else most


@dataclass(frozen=True)
class Judged:
    """What the judge took, the first answer shown as A, then the second so; 0: no letter."""

    as_given: Side
    swapped: Side

    @property
    def verdict(self) -> Side:
        return self.as_given if self.as_given == self.swapped else 0


def judge(lm: LM, pairs: Sequence[Pair], progress: Progress = silent) -> list[Judged]:
    """Every pair in both orders."""
    asked = [
        (pair.instruction, *answers)
        for pair in pairs
        for answers in ((pair.first, pair.second), (pair.second, pair.first))
    ]
    capabilities = lm.capabilities()
    took = _scored if capabilities.score else _written
    letters: list[str | None] = []
    for start in range(0, len(asked), BATCH):
        prompts = [_prompt(*one, chat=capabilities.chat) for one in asked[start : start + BATCH]]
        letters += took(lm, prompts)
        progress("judged", len(letters), len(asked))
    places: Mapping[str | None, tuple[Side, Side]] = {"A": (1, 2), "B": (2, 1), None: (0, 0)}
    return [
        Judged(places[one][0], places[other][1])
        for one, other in zip(letters[::2], letters[1::2], strict=True)
    ]


def _prompt(instruction: str, a: str, b: str, *, chat: bool) -> Prompt:
    text = f"Instruction:\n{instruction}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}\n\n{INSTRUCTION}"
    return (Message("user", text),) if chat else f"{text}\nThe better answer is"


def _scored(lm: LM, prompts: Sequence[Prompt]) -> list[str | None]:
    before = ["" if not isinstance(prompt, str) else " " for prompt in prompts]
    scores = lm.score(
        [(p, f"{s}{letter}") for p, s in zip(prompts, before, strict=True) for letter in "AB"]
    )
    return [
        "A" if a.log_probability >= b.log_probability else "B"
        for a, b in zip(scores[::2], scores[1::2], strict=True)
    ]


def _written(lm: LM, prompts: Sequence[Prompt]) -> list[str | None]:
    found = complete(lm, [Request(prompt, MOST_TOKENS) for prompt in prompts])
    letters = [_LETTER.search(one.text) for one in found]
    return [None if letter is None else letter[1] for letter in letters]


def agreement(pairs: Sequence[Pair], found: Sequence[Judged], seed: int = 0) -> dict[str, Any]:
    """Against what most people said; pairs they call even are only in `kappa`.

    `accuracy` is the mean over both orders (as LLMBar reports it, Zeng et al. 2024,
    arXiv:2310.07641), `agreement` asks for both, `consistent` is the share that the order did not
    change, `first` the share of answers taken for standing first.
    """
    decided = [(p, j) for p, j in zip(pairs, found, strict=True) if p.label]
    if len(decided) < 2:
        raise DataError("too few pairs that people decided", field="--data", got=len(decided))

    def share(of: Callable[[Pair, Judged], float]) -> dict[str, Any]:
        values = [of(pair, one) for pair, one in decided]
        return dict(measured(np.column_stack([values, np.ones(len(values))]), mean, seed))

    return {
        "n": len(decided),
        "accuracy": share(
            lambda p, j: ((j.as_given == p.label) + (j.swapped == p.label)) / 2
        ),
        "agreement": share(lambda p, j: float(j.verdict == p.label)),
        "consistent": share(lambda p, j: float(j.verdict != 0)),
        "first": share(lambda p, j: ((j.as_given == 1) + (j.swapped == 2)) / 2),
        "kappa": kappa([p.label for p in pairs], [j.verdict for j in found]),
        "people": _people(pairs),
    }  # fmt: skip


def kappa(one: Sequence[Side], other: Sequence[Side]) -> float | None:
    """Cohen's: (p - e) / (1 - e), p the share of equal labels, e that of chance. None if e is 1."""
    count = len(one)
    equal = sum(a == b for a, b in zip(one, other, strict=True)) / count
    chance = sum((one.count(s) / count) * (other.count(s) / count) for s in (0, 1, 2))
    return None if chance == 1 else (equal - chance) / (1 - chance)


def _people(pairs: Sequence[Pair]) -> float | None:
    """The share of equal labels over pairs of people; None where one person labelled each."""
    same = [a == b for pair in pairs for a, b in combinations(pair.labels, 2)]
    return sum(same) / len(same) if same else None


def preferred(judged: Sequence[Judged], seed: int = 0) -> dict[str, Any]:
    """Of pairs that nobody labelled: how often the first answer is taken, the second, or neither
    (a verdict that the order changed), and a paired test of the first two.

    `difference` is the share of the first minus that of the second, so that a pair counts 1, 0 or
    -1. Raises DataError for fewer than two pairs.
    """
    if len(judged) < 2:
        raise DataError("too few pairs to judge", field="--answers", got=len(judged))
    taken = {side: np.array([float(one.verdict == side) for one in judged]) for side in (0, 1, 2)}
    rows = {side: np.column_stack([own, np.ones(len(own))]) for side, own in taken.items()}
    test = compare(rows[1], rows[2], mean, seed)
    return {
        "n": len(judged),
        **{name: dict(measured(rows[side], mean, seed))
           for side, name in ((1, "first_better"), (2, "second_better"), (0, "neither"))},
        **test.as_json(),
    }  # fmt: skip
