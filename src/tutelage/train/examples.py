"""Rows of text to examples of tokens, and examples to the steps of a run."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from tutelage.checkpoints.reading import Reading
from tutelage.data.pack import Example, batch
from tutelage.data.rows import WHOLE, Row, SetAside, refused, too_long, unanswered
from tutelage.errors import GuardError, TutelageError
from tutelage.text.render import Renderer
from tutelage.train.config import TuneConfig

Rendered = tuple[list[int], list[int]] | TutelageError | None
"""Ids of prompt and answer, or why there are none; None for a row without an answer."""


def examples_of(
    rows: Sequence[Row], reading: Reading, *, strict: bool = False
) -> tuple[list[Example], list[dict[str, str]]]:
    """The examples of all usable rows, and which were set aside and why. Nothing is cut short.

    Raises DataError at the first row that would be set aside if `strict`, and GuardError where a
    guard of the renderer refuses and leaves no row, as with a model whose end token is unknown.
    """
    examples: list[Example] = []
    aside: list[dict[str, str]] = []
    guard: GuardError | None = None
    for row, result in zip(rows, _rendered(rows, reading.renderer), strict=True):
        if isinstance(result, GuardError):
            guard = guard or result
        fault = _fault(row, result, reading)
        if fault is None:
            assert isinstance(result, tuple)
            if not row.extra.get(WHOLE):
                examples.append(reading.example(*result, row.weight, row.id))
            else:
                examples.append(reading.text([*result[0], *result[1]], row.weight, row.id))
            continue
        if strict and not isinstance(result, GuardError):
            raise refused(fault)
        aside.append(asdict(fault))
    if guard is not None and (strict or not examples):
        raise guard
    return examples, aside


def _rendered(rows: Sequence[Row], renderer: Renderer) -> Iterator[Rendered]:
    """One outcome a row, all rows rendered at once."""
    learned = [(row.messages, row.completion) for row in rows if row.completion is not None]
    outcomes = iter(renderer.example_ids_each(learned))
    for row in rows:
        if row.text is not None and row.extra.get(WHOLE):
            ids = renderer.tokenizer.encode_row(row.text)
            yield ids[:1], ids[1:]
        else:
            yield None if row.completion is None else next(outcomes)


def _fault(row: Row, result: Rendered, reading: Reading) -> SetAside | None:
    """Why a row is set aside; None for a usable one."""
    if result is None or (row.extra.get(WHOLE) and reading.start is not None):
        return unanswered(row)
    if isinstance(result, TutelageError):
        return SetAside(row.where, "template", result.message)
    over = reading.over(*map(len, result))
    return None if over is None else too_long(row, *over)


def schedule(examples: Sequence[Example], config: TuneConfig) -> list[list[Example]]:
    """The rows of every step: each epoch all rows once, in an order of its own from the seed."""
    assert config.batch_tokens is not None, "resolved"
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
