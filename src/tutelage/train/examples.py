"""Rows of text to examples of tokens, and examples to the steps of a run."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from tutelage.data.pack import Example, batch
from tutelage.data.rows import Row
from tutelage.errors import TutelageError
from tutelage.text.render import Renderer
from tutelage.train.config import TuneConfig


def examples_of(
    rows: Sequence[Row], renderer: Renderer, context: int
) -> tuple[list[Example], list[dict[str, str]]]:
    """The examples of all usable rows, and which were set aside and why. Nothing is cut short."""
    examples: list[Example] = []
    aside: list[dict[str, str]] = []
    usable = [row for row in rows if row.completion is not None]
    aside += [
        {"where": row.where, "reason": "missing-key", "detail": "no completion to learn"}
        for row in rows
        if row.completion is None
    ]
    rendered = renderer.example_ids_each([(r.messages, r.completion or "") for r in usable])
    for row, result in zip(usable, rendered, strict=True):
        if isinstance(result, TutelageError):
            aside.append({"where": row.where, "reason": "template", "detail": result.message})
            continue
        prompt, trained = result
        length = len(prompt) + len(trained)
        if length > context:
            detail = f"{length} tokens, the context is {context}"
            aside.append({"where": row.where, "reason": "too-long", "detail": detail})
            continue
        examples.append(Example(tuple(prompt), tuple(trained), row.weight, row.id))
    return examples, aside


def schedule(examples: Sequence[Example], config: TuneConfig) -> list[list[Example]]:
    """The rows of every step: each epoch all rows once, in an order of its own from the seed."""
    steps: list[list[Example]] = []
    epoch = 0
    wanted = config.steps
    while True:
        order = list(range(len(examples)))
        random.Random(f"{config.seed}:{epoch}").shuffle(order)
        rounds = batch(examples, order, config.batch_tokens)
        share = min(1.0, config.epochs - epoch)
        if wanted is None and share < 1:
            rounds = rounds[: math.ceil(share * len(rounds) - 1e-9)]
        steps += [[examples[i] for i in rows] for rows in rounds]
        epoch += 1
        if wanted is not None and len(steps) >= wanted:
            return steps[:wanted]
        if wanted is None and epoch >= config.epochs:
            return steps
