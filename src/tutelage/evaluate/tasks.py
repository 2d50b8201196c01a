"""From data rows to items: which rows can be asked, with which solved examples before them.

    evaluation = evaluate_rows(lm, rows, examples, ["rougeL"], max_new_tokens=64)

Knows prompts as turns; how a model reads them is its own affair. Choosing the examples is
`prompts/few_shot`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.data.rows import Row
from tutelage.errors import DataError
from tutelage.evaluate.run import Evaluation, Item, evaluate
from tutelage.lm import LM
from tutelage.progress import Progress, silent
from tutelage.prompts.few_shot import Example, with_examples
from tutelage.text.plain_text import STOP


def evaluate_rows(
    lm: LM,
    rows: Sequence[Row],
    examples: Sequence[Example],
    metrics: Sequence[str],
    *,
    max_new_tokens: int,
    progress: Progress = silent,
    seed: int = 0,
) -> Evaluation:
    """Ask every row, greedily, with the examples before it, and measure; see `run.evaluate`."""
    return evaluate(
        lm,
        items_of(rows, examples),
        metrics,
        max_new_tokens=max_new_tokens,
        stop=stop_texts(chat=lm.capabilities().chat),
        progress=progress,
        seed=seed,
    )


def answerable(rows: Sequence[Row], source: str, *, strict: bool = False) -> list[Row]:
    """The rows with a prompt and a reference. Raises DataError if there is none, or if `strict` at
    the first row without."""
    kept = []
    for row in rows:
        if row.messages and row.completion is not None:
            kept.append(row)
        elif strict:
            raise DataError(
                f"{row.where} has no prompt with an answer",
                field=row.where,
                expected="a prompt and a completion, messages, or a text with a label",
                hint="without --strict such rows are set aside and counted",
            )
    if not kept:
        raise DataError(
            f"{source} has no row with a prompt and an answer",
            field=source,
            got=f"{len(rows)} rows without",
            expected='rows as {"prompt", "completion"}, {"messages"} or {"text", "label"}',
        )
    return kept


def items_of(rows: Sequence[Row], examples: Sequence[Example] = ()) -> list[Item]:
    """One item a row, its question as turns with the examples before it."""
    items = []
    for row in rows:
        if row.completion is None:
            raise DataError(f"{row.where}: no answer to compare with", field=row.where)
        prompt = with_examples(row.messages, examples)
        items.append(Item(row.id, prompt, row.completion, row.source))
    return items


def stop_texts(*, chat: bool) -> tuple[str, ...]:
    """Where answers end besides the end token: models without a template need it."""
    return () if chat else STOP
