"""Few-shot prompting: the same solved examples before every query.

One choice of examples serves all queries, so that their shared prefix is computed once. Choices
nest: the two examples are the first two of the four. Knows text and messages alone; whether k
examples help is for `evaluate/` to measure.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tutelage.errors import DataError
from tutelage.lm import Message, Prompt

MOST_LABELS = 50


@dataclass(frozen=True)
class Example:
    """A solved example. `source` is the document it came from, where known."""

    messages: tuple[Message, ...]
    completion: str
    source: str | None = None
    id: str | None = None


def with_examples(messages: Sequence[Message], examples: Sequence[Example]) -> tuple[Message, ...]:
    """The query with the examples as earlier turns.

    A system message of the query stays first; system messages of examples are left out.
    """
    shown: list[Message] = []
    for example in examples:
        shown.extend(turn for turn in example.messages if turn.role != "system")
        shown.append(Message("assistant", example.completion))
    return with_turns(messages, shown)


def with_turns(messages: Sequence[Message], shown: Sequence[Message]) -> tuple[Message, ...]:
    """The query with these turns before it, after its own system message."""
    leading = 0
    while leading < len(messages) and messages[leading].role == "system":
        leading += 1
    return (*messages[:leading], *shown, *messages[leading:])


def choose_examples(
    pool: Sequence[Example],
    k: int,
    seed: int,
    max_tokens_each: int,
    count_tokens: Callable[[Prompt], int | None],
) -> tuple[Example, ...]:
    """k examples of at most `max_tokens_each` tokens for all queries, the same for the same seed.

    Each next example has the label shown least so far (where completions are labels), then the
    source shown least, then the lowest hash of the seed and its text. An example counts as long as
    `count_tokens` says of its turns with the answer; where it says None, by four characters a
    token. Raises DataError where fewer than k are short enough.
    """
    waiting = sorted(pool, key=lambda example: _rank(example, seed))
    labelled = _completions_are_labels(pool)
    labels: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    chosen: list[Example] = []

    def shown_so_far(example: Example) -> tuple[int, int]:
        label = labels[example.completion] if labelled else 0
        return label, sources[example.source] if example.source is not None else 0

    while len(chosen) < k and waiting:
        following = min(waiting, key=shown_so_far)
        waiting.remove(following)
        if _tokens(following, count_tokens) > max_tokens_each:
            continue
        chosen.append(following)
        labels[following.completion] += 1
        if following.source is not None:
            sources[following.source] += 1
    if len(pool) < k:
        raise DataError(
            f"{k} examples are more than the rows to take them from",
            field="shots",
            got=f"{len(pool)} rows",
            expected=f"{k} or more",
        )
    if len(chosen) < k:
        raise DataError(
            f"only {len(chosen)} of {len(pool)} rows are short enough to be shown as examples",
            field="shots",
            got=f"{len(chosen)} examples of at most {max_tokens_each} tokens",
            expected=k,
            hint="show fewer examples, or allow longer ones",
        )
    return tuple(chosen)


def _rank(example: Example, seed: int) -> str:
    turns = [turn.role + "\x1f" + turn.content for turn in example.messages]
    text = "\x1e".join([str(seed), *turns, example.completion])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _completions_are_labels(pool: Sequence[Example]) -> bool:
    """Whether few different completions serve many examples, as in classification."""
    distinct = len({example.completion for example in pool})
    return distinct <= min(MOST_LABELS, len(pool) // 3)


def _tokens(example: Example, count_tokens: Callable[[Prompt], int | None]) -> int:
    turns = with_examples((), [example])
    counted = count_tokens(turns)
    if counted is not None:
        return counted
    return sum(len(turn.content) for turn in turns) // 4 + 1
