"""Small general tasks, built in: what a model should still know and do after it was tuned.

    sums         two small numbers added or subtracted            four choices, made by rule
    grammar      the sentence whose verb fits its subject         two choices, made by rule
    facts        capitals, colours, seasons and the like          four choices
    opposites    the opposite of a word                           four choices
    instructions an answer of a form that a program can check     one line each

They are easy, so that a small model knows many of them and has something to lose; they rank no
models. Instructions that can be checked: Zhou et al. 2023, arXiv:2311.07911, section 2, of which
these are a few simple kinds. Knows texts alone; asking is `evaluate/general`'s.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

TASKS = ("sums", "grammar", "facts", "opposites")
INSTRUCTIONS = "instructions"


@dataclass(frozen=True)
class Question:
    """A question with choices, of which the one at `right` is right."""

    task: str
    text: str
    choices: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Instruction:
    """What is asked for, and whether an answer does it."""

    text: str
    done: Callable[[str], bool]


def questions(each: int, seed: int = 0) -> tuple[Question, ...]:
    """So many questions of every task at most, the same for the same seed."""
    found: list[Question] = []
    for task, make in _MAKERS.items():
        made = list(make())
        random.Random(f"{seed}:{task}").shuffle(made)
        for number, (text, right, wrong) in enumerate(made[:each]):
            place = random.Random(f"{seed}:{task}:{number}").randrange(len(wrong) + 1)
            choices = (*wrong[:place], right, *wrong[place:])
            found.append(Question(task, text, choices, place))
    return tuple(found)


def instructions(count: int, seed: int = 0) -> tuple[Instruction, ...]:
    """So many at most, of all kinds in turn."""
    kinds = list(_kinds())
    for place, kind in enumerate(kinds):
        random.Random(f"{seed}:{place}").shuffle(kind)
    longest = max(map(len, kinds))
    turns = [kind[turn] for turn in range(longest) for kind in kinds if turn < len(kind)]
    return tuple(turns[:count])


Made = tuple[str, str, tuple[str, ...]]
"""Text, right choice, wrong ones."""


def _sums() -> Iterator[Made]:
    for a in range(2, 10):
        for b in range(2, a + 1):
            plus, minus = a + b, a - b
            yield f"{a} + {b} =", str(plus), (str(plus + 1), str(plus - 1), str(plus + 3))
            yield f"{a} - {b} =", str(minus), (str(minus + 1), str(minus + 2), str(minus + 3))


NOUNS = ("dog", "teacher", "river", "window", "child", "engine")
PLURALS = {"child": "children"}
VERBS = (("is", "are", "old"), ("has", "have", "changed"), ("was", "were", "near the house"))


def _grammar() -> Iterator[Made]:
    """The noun between subject and verb has the other number, so that the nearest is misleading."""
    for place, noun in enumerate(NOUNS):
        near = NOUNS[(place + 1) % len(NOUNS)]
        one, many = noun, PLURALS.get(noun, f"{noun}s")
        other, others = near, PLURALS.get(near, f"{near}s")
        for singular, plural, rest in VERBS:
            yield f"The {one} behind the {others}", f"{singular} {rest}.", (f"{plural} {rest}.",)
            yield f"The {many} behind the {other}", f"{plural} {rest}.", (f"{singular} {rest}.",)


FACTS: dict[str, tuple[str, ...]] = {
    "The capital of {} is": (
        "France Paris", "Italy Rome", "Spain Madrid", "Japan Tokyo", "Russia Moscow",
        "Germany Berlin", "England London", "Greece Athens", "China Beijing", "Egypt Cairo",
    ),
    "The colour of {} is": (
        "snow white", "grass green", "blood red", "coal black", "lemons yellow", "carrots orange",
    ),
    "A baby {} is called a": (
        "dog puppy", "cat kitten", "cow calf", "sheep lamb", "horse foal", "bear cub",
    ),
    "The number after {} is": (
        "three four", "six seven", "nine ten", "seven eight", "one two", "four five",
    ),
    "The day after {} is": (
        "Monday Tuesday", "Wednesday Thursday", "Friday Saturday", "Saturday Sunday",
    ),
}  # fmt: skip
OPPOSITES = (
    "hot cold", "big small", "up down", "open closed", "early late", "young old", "fast slow",
    "full empty", "light dark", "happy sad", "strong weak", "near far", "rich poor", "wet dry",
    "hard soft", "high low", "true false", "clean dirty", "first last", "begin end",
)  # fmt: skip


def _facts() -> Iterator[Made]:
    for template, pairs in FACTS.items():
        yield from _paired(template, pairs)


def _opposites() -> Iterator[Made]:
    yield from _paired('The opposite of "{}" is', OPPOSITES)


def _paired(template: str, pairs: Sequence[str]) -> Iterator[Made]:
    """The wrong choices are the right ones of the next three."""
    parts = [tuple(pair.split()) for pair in pairs]
    for place, (asked, right) in enumerate(parts):
        others = [parts[(place + step) % len(parts)][1] for step in (1, 2, 3)]
        yield template.format(asked), right, tuple(others)


_MAKERS: dict[str, Callable[[], Iterator[Made]]] = {
    "sums": _sums, "grammar": _grammar, "facts": _facts, "opposites": _opposites,
}  # fmt: skip


def _kinds() -> Iterator[list[Instruction]]:
    """Of each kind some."""
    yield [
        Instruction(f"Name something that is found {where}. Answer with one word only.", one_word)
        for where in ("in a kitchen", "at school", "in a forest", "on a farm")
    ]
    yield [
        Instruction(f'Write a sentence about {topic} with the word "{word}" in it.', has(word))
        for topic, word in (
            ("the sea", "blue"), ("a friend", "help"), ("winter", "cold"), ("music", "loud"),
        )
    ]  # fmt: skip
    yield [
        Instruction(f"Write one short sentence about {topic} in capital letters only.", capitals)
        for topic in ("bread", "the moon", "a dog", "the rain")
    ]
    yield [
        Instruction(f'What is {thing}? Begin your answer with the word "{word}".', begins(word))
        for thing, word in (
            ("a bridge", "Well"), ("a garden", "Certainly"), ("a clock", "Today"),
            ("a river", "Perhaps"),
        )
    ]  # fmt: skip
    yield [
        Instruction(f"Answer with yes or no only. Is {what}?", yes_or_no)
        for what in ("ice cold", "a mouse bigger than a house", "fire hot", "water dry")
    ]
    yield [
        Instruction(f"Write the numbers from 1 to {end}, divided by commas.", counts(end))
        for end in (4, 5, 6, 7)
    ]


def one_word(answer: str) -> bool:
    return bool(re.fullmatch(r"\W*[\w'-]+\W*", answer.strip()))


def capitals(answer: str) -> bool:
    return any(c.isalpha() for c in answer) and answer == answer.upper()


def yes_or_no(answer: str) -> bool:
    return bool(re.fullmatch(r"\W*(yes|no)\W*", answer.strip(), re.IGNORECASE))


def has(word: str) -> Callable[[str], bool]:
    return lambda answer: bool(re.search(rf"\b{word}\b", answer, re.IGNORECASE))


def begins(word: str) -> Callable[[str], bool]:
    return lambda answer: bool(re.match(rf"\W*{word}\b", answer, re.IGNORECASE))


def counts(end: int) -> Callable[[str], bool]:
    wanted = [str(number) for number in range(1, end + 1)]
    return lambda answer: [part.strip(" .\n") for part in answer.split(",")] == wanted
