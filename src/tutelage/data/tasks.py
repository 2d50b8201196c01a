"""Rows of several tasks as one set to tune on: how many of each, and other data among them.

    mixed({"sums": rows, "names": more}, cap=3000, temperature=2)
    replayed(rows, general, share=0.1)

Examples-proportional mixing with a cap, and temperature:

    p_m = min(e_m, K)^(1/T) / sum over n of min(e_n, K)^(1/T)

of the e_m rows of task m; K bounds what a large task takes, T = 1 leaves the proportions, a larger
T evens them out. One pass over the mixture is as many rows as the capped tasks have together.
Source: Raffel et al. 2020, arXiv:1910.10683, section 3.5.2; with K = 3000 and no temperature for
FLAN (Wei et al. 2022, arXiv:2109.01652, section 2.4). A task taken more often than it has rows
repeats them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tutelage.data.rows import Row
from tutelage.errors import ConfigError
from tutelage.lm import Message

WEIGHTS = "turn_weights"
"""The key of `Row.extra` with the weight of every turn, where a conversation says them."""


@dataclass(frozen=True)
class Taken:
    """What a mixture took of one task."""

    task: str
    rows: int
    taken: int


def counts(
    sizes: Mapping[str, int], *, cap: int | None = None, temperature: float = 1.0
) -> list[Taken]:
    """Rows of each task by largest remainders, so that they sum to those of the capped tasks.
    Raises ConfigError for a cap or a temperature that is none."""
    if cap is not None and cap < 1:
        raise ConfigError("no cap", field="--cap", got=cap, expected="1 or more")
    if not 0 < temperature < math.inf:
        raise ConfigError(
            "no temperature", field="--temperature", got=temperature, expected="above 0"
        )
    capped = {task: min(size, cap or size) for task, size in sizes.items()}
    largest, total = max(capped.values()), sum(capped.values())
    powers = {task: (size / largest) ** (1 / temperature) for task, size in capped.items()}
    whole = math.fsum(powers.values())
    exact = {task: total * power / whole for task, power in powers.items()}
    found = {task: math.floor(value + 1e-9) for task, value in exact.items()}
    by_rest = sorted(exact, key=lambda task: found[task] - exact[task])
    for task in by_rest[: total - sum(found.values())]:
        found[task] += 1
    return [Taken(task, size, found[task]) for task, size in sizes.items()]


def mixed(
    tasks: Mapping[str, Sequence[Row]],
    *,
    cap: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> tuple[tuple[Row, ...], list[Taken]]:
    """The rows of all tasks, task by task, as many of each as `counts` says. Which rows a cap
    leaves out follows from the seed."""
    taken = counts({n: len(rows) for n, rows in tasks.items()}, cap=cap, temperature=temperature)
    rows = [
        row for one in taken for row in _drawn(tasks[one.task], one.taken, f"{seed}:{one.task}")
    ]
    return tuple(rows), taken


def _drawn(rows: Sequence[Row], count: int, seed: str) -> Iterator[Row]:
    """Every row once, in an order of the pass's own, before any comes again."""
    for start in range(0, count, len(rows)):
        order = list(range(len(rows)))
        random.Random(f"{seed}:{start}").shuffle(order)
        yield from (rows[place] for place in sorted(order[: count - start]))


def replayed(
    rows: Sequence[Row], general: Sequence[Row], share: float, seed: int = 0
) -> tuple[Row, ...]:
    """The rows, and among them so many general ones that these are `share` of all. Raises
    ConfigError for a share that is none. Rehearsal against forgetting: Robins 1995."""
    if not 0 < share < 1:
        raise ConfigError(
            "no share of the rows", field="--replay-share", got=share, expected="between 0 and 1"
        )
    count = round(len(rows) * share / (1 - share))
    return (*rows, *_drawn(general, count, f"{seed}:replay"))


def each_turn(rows: Sequence[Row]) -> tuple[Row, ...]:
    """A row for every answer of a conversation, each with the turns before it, so that all answers
    are learned and nothing else; those whose turn has the weight 0 are left out."""
    return tuple(one for row in rows for one in _turns(row))


def _turns(row: Row) -> Iterator[Row]:
    if row.completion is None:
        yield row
        return
    turns = (*row.messages, Message("assistant", row.completion))
    weights = row.extra.get(WEIGHTS) or [1] * len(turns)
    for place, (turn, weight) in enumerate(zip(turns, weights, strict=True)):
        asked = any(before.role == "user" for before in turns[:place])
        if turn.role != "assistant" or not weight or not asked or not turn.content.strip():
            continue
        last = place == len(turns) - 1
        name = row.id if last else f"{row.id}#{place}"
        yield replace(row, id=name, messages=turns[:place], completion=turn.content, extra={})
