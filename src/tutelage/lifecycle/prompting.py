"""How long answers may be, and which examples fit before every question.

Choices follow from training rows, and from the lengths of questions, never from references.
`prompts/` knows how examples are picked and written, `evaluate/tasks` how questions are put.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_low

from tutelage.data.rows import Row
from tutelage.errors import DataError
from tutelage.evaluate.lengths import question_length, tokens
from tutelage.lm import LM, Message
from tutelage.prompts.few_shot import Example, choose_examples, with_examples

LONGEST_ANSWER = 512
SHORTEST_LIMIT = 16
ROOM = 1.25
"""Answers may be this much longer than the longest completion of the training rows."""
FEWEST_TOKENS = 64


def answer_limit(lm: LM, train: Sequence[Row]) -> int:
    """Tokens an answer may have: a quarter more than the longest training completion."""
    longest = max(tokens(lm, row.completion or "") for row in train)
    return min(LONGEST_ANSWER, max(SHORTEST_LIMIT, math.ceil(ROOM * (longest + 1))))


def examples_that_fit(
    lm: LM, train: Sequence[Row], asked: Sequence[Row], k: int, limit: int, seed: int
) -> tuple[Example, ...] | None:
    """k examples for all questions, or None if they cannot be shown within the context.

    Examples are at most as long as half of the training rows are, so that prompts stay cheap.
    """
    pool = [row.example() for row in train]
    lengths = [tokens(lm, with_examples((), [one])) for one in pool]
    most = max(FEWEST_TOKENS, median_low(lengths))
    try:
        chosen = choose_examples(pool, k, seed, most, lambda turns: tokens(lm, turns))
    except DataError:
        return None
    context = lm.capabilities().context
    if context is None:
        return chosen
    longest = max(asked, key=lambda row: question_length(lm, row))
    fits = question_length(lm, longest, chosen) + limit <= context
    return chosen if fits else None


def shown_turns(examples: Sequence[Example]) -> tuple[Message, ...]:
    """The examples as the turns that stand before a question."""
    return with_examples((), examples)
