"""Which rows are asked, which are shown as examples, and what became of all others.

No row is lost: those read are the measured, the shown, the set aside, and those beyond the limit.
Knows loaded rows and the seam; where rows come from and where results go is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.data.rows import Loaded, Row, SetAside, reasons, refused
from tutelage.data.told import counted, listed
from tutelage.errors import DataError
from tutelage.evaluate.lengths import first_that_fit
from tutelage.lm import LM
from tutelage.prompts.few_shot import Example, choose_examples

FEWEST_ROWS = 2
NO_LIMIT = 10**9


@dataclass(frozen=True)
class Selection:
    """Rows to measure, with these examples before each."""

    rows: tuple[Row, ...]
    examples: tuple[Example, ...]
    read: int
    shown: int
    """Rows of the data itself that serve as examples."""
    set_aside: tuple[SetAside, ...]

    def described(self) -> dict[str, Any]:
        """`{"rows", "set_aside", "set_aside_rows"}`: counts, counts by reason, and the first
        `data.told.LISTED` of each reason."""
        became = {
            "measured": len(self.rows),
            "examples": self.shown,
            "set_aside": len(self.set_aside),
        }
        unused = self.read - sum(became.values())
        return {
            "rows": {"read": self.read, **became, "unused": unused},
            "set_aside": reasons(self.set_aside),
            "set_aside_rows": listed(self.set_aside),
        }


def select(
    lm: LM,
    loaded: Loaded,
    pool: Loaded | None,
    name: str,
    *,
    shots: int,
    limit: int | None,
    max_new_tokens: int,
    seed: int = 0,
    strict: bool = False,
) -> Selection:
    """Examples from `pool`, or from the data `name` itself, and the first `limit` other rows.

    Rows longer than the model's context are set aside. Raises DataError where fewer than
    FEWEST_ROWS are left, where examples do not fit, where a row's answer is one that the model can
    never give, and with `strict` at a row that is too long.
    """
    examples = _examples(lm, (pool or loaded).rows, shots, max_new_tokens, seed)
    taken = {one.id for one in examples} if pool is None else set()
    others = (row for row in loaded.rows if row.id not in taken)
    rows, long = first_that_fit(lm, others, limit)
    _refuse_unknown_labels(lm, rows)
    if strict and long:
        raise refused(long[0])
    aside = (*loaded.set_aside, *long)
    found = Selection(tuple(rows), examples, loaded.total, len(taken), aside)
    if len(rows) < FEWEST_ROWS:
        raise _too_few(found, name)
    return found


def _examples(
    lm: LM, pool: Sequence[Row], shots: int, max_new_tokens: int, seed: int
) -> tuple[Example, ...]:
    """The examples, each within its share of half the context that answers leave free."""
    if shots == 0:
        return ()
    context = lm.capabilities().context
    each = NO_LIMIT if context is None else (context - max_new_tokens) // (2 * shots)
    return choose_examples([row.example() for row in pool], shots, seed, each, lm.count_tokens)


def _refuse_unknown_labels(lm: LM, rows: Sequence[Row]) -> None:
    """Such a row would count as wrong whatever the model knows."""
    labels = lm.capabilities().labels
    for row in rows if labels else ():
        answer = row.completion or ""
        unknown = [word for word in answer.split() if word not in labels]
        if answer not in labels and unknown:
            said = answer if len(answer) < 40 else unknown[0]
            error = refused(SetAside(row.where, "unknown-label", repr(said)))
            raise DataError(
                error.message, field=row.where, got=said,
                expected="a label that the model was tuned to give: " + ", ".join(labels[:20]),
                hint="leave these rows out, or tune on rows that have the label",
            )  # fmt: skip


def _too_few(found: Selection, name: str) -> DataError:
    shown = f"; {found.shown} shown as examples" if found.shown else ""
    first = next(iter(found.set_aside), None)
    return DataError(
        f"too few rows to measure anything in {name}",
        field=name,
        got=f"{len(found.rows)} of {found.read} rows read{shown}; "
        f"set aside: {counted(reasons(found.set_aside))}",
        expected=f"{FEWEST_ROWS} or more",
        hint=None if first is None else f"the first set aside: {first.where}: {first.detail}",
    )
