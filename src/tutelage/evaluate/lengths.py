"""How long questions and rows are in a model's own tokens, and which rows fit its context.

Knows the seam alone; where a model does not say how long a text is, three characters count as a
token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tutelage.data.rows import Row, SetAside, too_long
from tutelage.evaluate.tasks import items_of
from tutelage.lm import LM, Prompt
from tutelage.prompts.few_shot import Example

CHARACTERS_A_TOKEN = 3


def tokens(lm: LM, asked: Prompt) -> int:
    """Length as the model says, or estimated where it says nothing."""
    counted = lm.count_tokens(asked)
    return estimated_tokens(asked) if counted is None else counted


def estimated_tokens(asked: Prompt) -> int:
    """Length without a tokenizer."""
    text = asked if isinstance(asked, str) else "".join(turn.content for turn in asked)
    return len(text) // CHARACTERS_A_TOKEN + 1


def question_length(lm: LM, row: Row, examples: Sequence[Example] = ()) -> int:
    """Tokens of the question as this model gets it, with examples before it."""
    (item,) = items_of([row], examples)
    return tokens(lm, item.prompt)


def row_length(lm: LM, row: Row) -> int:
    """Tokens of a row's question and answer together, with an end token, and the space before the
    answer where there is no chat template."""
    if not lm.capabilities().writes:
        return question_length(lm, row)
    between = 0 if lm.capabilities().chat else 1
    return question_length(lm, row) + between + tokens(lm, row.completion or "") + 1


def first_that_fit(
    lm: LM, rows: Iterable[Row], most: int | None
) -> tuple[list[Row], list[SetAside]]:
    """The first `most` rows that fit the model's context (None: all), and those passed over."""
    context = lm.capabilities().context
    kept: list[Row] = []
    aside: list[SetAside] = []
    for row in rows:
        if most is not None and len(kept) == most:
            break
        length = 0 if context is None else row_length(lm, row)
        if context is None or length <= context:
            kept.append(row)
        else:
            aside.append(too_long(row, length, context))
    return kept, aside
