"""What in-context examples teach: each property of them changed alone, on the same rows.

    tried = conditions(shown, other, labels, shots, seed)      # name -> examples
    measured = run(lm, rows, tried, labels, seed)

After Min et al. 2022 (arXiv:2202.12837), who find that labels need not be right while the space of
labels, the distribution of inputs and the format matter; order after Lu et al. 2022
(arXiv:2104.08786). A label is the likeliest of the label space where the model gives probabilities,
else it is written. Knows the seam alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tutelage.data.rows import Row
from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.choose import Choice, choose
from tutelage.evaluate.run import score
from tutelage.evaluate.statistics import compare, holm, measured
from tutelage.evaluate.tasks import evaluate_rows
from tutelage.lm import LM, Message
from tutelage.progress import Progress, silent
from tutelage.prompts.few_shot import Example, with_examples
from tutelage.score._metric import mean

MOST_LABELS = 20
ORDERS = 3
GOLD = "gold"
MOST_TOKENS = 16
_WORDS = (
    "lamp river stone window apple carpet train sugar pencil mountain bottle garden candle bridge "
    "pillow basket hammer island ladder mirror"
)
_SENTENCES = (
    "The kettle stood on the left shelf.", "Rain fell on the harbour all night.",
    "He painted the fence a second time.", "Three ships passed before noon.",
    "The recipe asks for two cups of flour.", "A cat slept beneath the stairs.",
    "The bus was late again on Tuesday.", "She folded the map and put it away.",
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """Examples before every question; `merged` writes them and the question into one turn."""

    examples: tuple[Example, ...]
    merged: bool = False


def labels_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The label space. Raises DataError for rows that are not a classification."""
    found = tuple(sorted({row.completion or "" for row in rows}))
    if not 2 <= len(found) <= min(MOST_LABELS, len(rows) // 2):
        raise DataError(
            "in-context learning is measured on rows with few labels", field="--data",
            got=f"{len(found)} different answers of {len(rows)} rows",
            expected=f"2 to {MOST_LABELS} labels, each of several rows",
        )  # fmt: skip
    return found


def conditions(
    shown: Sequence[Example], labels: Sequence[str], seed: int = 0
) -> dict[str, Condition]:
    """Every change of `shown`, by name: numbers of examples, orders, labels, inputs, template."""
    if not 2 <= len(shown) <= len(_SENTENCES) * 2:
        raise ConfigError(
            "so many examples are not changed one by one", field="--shots", got=len(shown),
            expected=f"2 to {len(_SENTENCES) * 2}",
        )  # fmt: skip
    generator = random.Random(seed)
    found = {"no examples": Condition(())}
    count = 1
    while count < len(shown):
        found[f"{count} examples"] = Condition(tuple(shown[:count]))
        count *= 2
    found[GOLD] = Condition(tuple(shown))
    for number in range(ORDERS):
        order = list(shown)
        generator.shuffle(order)
        found[f"order {number + 1}"] = Condition(tuple(order))
    drawn = [generator.choice(labels) for _ in shown]
    found["random labels"] = Condition(_relabelled(shown, drawn))
    wrong = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
    found["wrong labels"] = Condition(_relabelled(shown, [wrong[e.completion] for e in shown]))
    words = dict(zip(labels, generator.sample(_WORDS.split(), len(labels)), strict=True))
    found["other label space"] = Condition(_relabelled(shown, [words[e.completion] for e in shown]))
    found["other inputs"] = Condition(tuple(
        replace(e, messages=(Message("user", _SENTENCES[n % len(_SENTENCES)]),))
        for n, e in enumerate(shown)
    ))  # fmt: skip
    found["one turn"] = Condition(tuple(shown), merged=True)
    return found


def _relabelled(shown: Sequence[Example], labels: Sequence[str]) -> tuple[Example, ...]:
    return tuple(replace(e, completion=label) for e, label in zip(shown, labels, strict=True))


def run(
    lm: LM, rows: Sequence[Row], tried: Mapping[str, Condition], labels: Sequence[str],
    seed: int = 0, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Accuracy of each condition, and its difference from the gold examples with Holm's p."""
    hits = {name: _hits(lm, rows, condition, labels, progress) for name, condition in tried.items()}
    others = [name for name in tried if name != GOLD]
    against = [compare(hits[name], hits[GOLD], mean, seed) for name in others]
    p_values = holm([one.p_value for one in against])
    found: dict[str, Any] = {
        GOLD: {"accuracy": measured(hits[GOLD], mean, seed), "difference": None, "p_value": None}
    }
    for name, one, p in zip(others, against, p_values, strict=True):
        found[name] = {
            "accuracy": measured(hits[name], mean, seed),
            "difference": {"value": one.difference, "low": one.low, "high": one.high, "n": one.n},
            "p_value": p,
        }
    return {name: found[name] for name in tried}


def _hits(
    lm: LM, rows: Sequence[Row], condition: Condition, labels: Sequence[str], progress: Progress
) -> np.ndarray:
    """Row statistics [n, 2] of accuracy."""
    asked = [
        replace(row, messages=_merged(row, condition.examples)) if condition.merged else row
        for row in rows
    ]
    shown = () if condition.merged else condition.examples
    if lm.capabilities().score:
        space = tuple(labels)
        choices = [
            Choice(with_examples(row.messages, shown), space, space.index(row.completion or ""))
            for row in asked
        ]
        return choose(lm, choices, progress).statistics["accuracy"]
    found = evaluate_rows(
        lm, asked, shown, ["accuracy"], max_new_tokens=MOST_TOKENS, progress=progress
    )
    return score(found.items, found.answers, ["accuracy"], seconds=0.0).statistics["accuracy"]


def _merged(row: Row, shown: Sequence[Example]) -> tuple[Message, ...]:
    before = "".join(f"Input: {e.messages[-1].content}\nLabel: {e.completion}\n\n" for e in shown)
    *first, last = row.messages
    return (*first, Message(last.role, f"{before}Input: {last.content}\nLabel:"))
