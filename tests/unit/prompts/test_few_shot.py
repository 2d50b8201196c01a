"""Examples for all queries: nested, short, spread over labels and sources, the same each time."""

from __future__ import annotations

from collections import Counter

import pytest

from tutelage.errors import DataError
from tutelage.lm import Message, Prompt
from tutelage.prompts.few_shot import Example, choose_examples, with_examples


def example(n: int, completion: str | None = None, source: str | None = None) -> Example:
    return Example((Message("user", f"question {n}"),), completion or f"answer {n}", source)


def words(prompt: Prompt) -> int:
    return sum(len(turn.content.split()) for turn in prompt if isinstance(turn, Message))


def test_examples_are_earlier_turns_after_the_system_message() -> None:
    system = Message("system", "Be short.")
    shown = Example((Message("system", "Not this."), Message("user", "a")), "b")
    long = Example((Message("user", "c"), Message("assistant", "d"), Message("user", "e")), "f")
    query = (system, Message("user", "q"))
    assert with_examples(query, [shown, long]) == (
        system,
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
        Message("assistant", "d"),
        Message("user", "e"),
        Message("assistant", "f"),
        Message("user", "q"),
    )
    assert with_examples(query, []) == query


def test_choices_nest_and_depend_on_the_seed_alone() -> None:
    pool = [example(n, source=f"s{n % 20}") for n in range(100)]
    sixteen = choose_examples(pool, 16, 0, 100, words)
    for k in (1, 2, 4, 8):
        assert choose_examples(pool, k, 0, 100, words) == sixteen[:k]
    assert choose_examples(pool[::-1], 16, 0, 100, words) == sixteen
    assert choose_examples(pool, 16, 1, 100, words) != sixteen
    assert choose_examples(pool, 0, 0, 100, words) == ()


def test_sources_differ_as_long_as_there_are_others() -> None:
    pool = [example(n, source="huge") for n in range(100)]
    pool += [example(100 + n, source=f"s{n}") for n in range(3)]
    chosen = choose_examples(pool, 4, 0, 100, words)
    assert len({one.source for one in chosen}) == 4
    assert Counter(one.source for one in choose_examples(pool, 6, 0, 100, words))["huge"] == 3


def test_labels_are_spread() -> None:
    pool = [example(n, "common" if n % 10 else "rare", f"s{n % 3}") for n in range(60)]
    pool += [example(100 + n, "third") for n in range(5)]
    for seed in range(5):
        chosen = choose_examples(pool, 6, seed, 100, words)
        assert Counter(one.completion for one in chosen) == {"common": 2, "rare": 2, "third": 2}
        assert len({one.completion for one in chosen[:3]}) == 3


def test_long_examples_are_passed_over() -> None:
    pool = [example(n) for n in range(10)] + [example(n, "long " * 50) for n in range(10)]
    chosen = choose_examples(pool, 10, 0, 4, words)
    assert {one.completion for one in chosen} == {f"answer {n}" for n in range(10)}
    with pytest.raises(DataError) as caught:
        choose_examples(pool, 11, 0, 4, words)
    assert caught.value.got == "10 examples of at most 4 tokens"
    assert caught.value.expected == "11"
    with pytest.raises(DataError, match="more than the rows") as caught:
        choose_examples(pool, 21, 0, 4, words)
    assert (caught.value.got, caught.value.expected) == ("20 rows", "21 or more")


def test_unknown_lengths_are_estimated_from_characters() -> None:
    pool = [example(1, "x" * 400), example(2, "y")]
    assert choose_examples(pool, 1, 0, 50, lambda prompt: None) == (pool[1],)
