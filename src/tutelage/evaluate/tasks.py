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
from tutelage.score._metric import Metric
from tutelage.text.plain_text import STOP


def evaluate_rows(
    lm: LM,
    rows: Sequence[Row],
    examples: Sequence[Example],
    metrics: Sequence[str | Metric],
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
