"""From data rows to items: which rows can be asked, with which solved examples before them.

    items = items_of(rows, examples)

Knows prompts as turns; how a model reads them is its own affair. Choosing the examples is
`prompts/few_shot`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.data.rows import Row
from tutelage.errors import DataError
from tutelage.evaluate.run import Item
from tutelage.prompts.few_shot import Example, with_examples
from tutelage.text.plain_text import STOP


def answerable(rows: Sequence[Row], source: str) -> list[Row]:
    """The rows with a prompt and a reference. Raises DataError if there is none."""
    kept = [row for row in rows if row.messages and row.completion is not None]
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
