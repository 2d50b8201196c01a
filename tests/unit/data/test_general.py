"""The general tasks that are built in: one right choice each, checks that tell answers apart."""

from __future__ import annotations

import re

import pytest

from tutelage.data.general import TASKS, instructions, questions


def test_every_question_has_one_right_choice_and_none_comes_twice() -> None:
    found = questions(20)
    assert {one.task for one in found} == set(TASKS)
    assert len({one.text + one.choices[one.right] for one in found}) == len(found)
    for one in found:
        assert len(set(one.choices)) == len(one.choices) >= 2
    for task in TASKS:
        assert len({one.right for one in found if one.task == task}) > 1, "not always the first"


def test_sums_are_right() -> None:
    for one in questions(100):
        if one.task == "sums":
            a, sign, b, _ = one.text.split()
            value = int(a) + int(b) if sign == "+" else int(a) - int(b)
            assert one.choices[one.right] == str(value)


def test_the_verb_agrees_with_the_subject_and_not_with_the_nearest_noun() -> None:
    for one in questions(100):
        if one.task == "grammar":
            subject = one.text.split()[1]
            many = subject.endswith("s") or subject == "children"
            assert (one.choices[one.right].split()[0] in ("are", "have", "were")) == many


def test_the_same_for_the_same_seed_and_as_many_as_asked() -> None:
    assert questions(5, 1) == questions(5, 1) != questions(5, 2)
    assert len(questions(5)) == 5 * len(TASKS) and not questions(0)
    assert len(instructions(12)) == 12 and not instructions(0)
    assert len({one.text for one in instructions(99)}) == len(instructions(99)) == 24


@pytest.mark.parametrize(
    ("part", "good", "bad"),
    [
        ("one word only", "Spoon.", "A spoon."),
        ("capital letters", "THE MOON IS UP.", "THE MOON is up."),
        ("Begin your answer", '"{word}", it is.', "It is {word}."),
        ("Write a sentence", "It is {word}.", "It is."),
        ("yes or no only", "Yes.", "Yes, it is."),
        ("divided by commas", "{list}", "{list}, 99"),
    ],
)
def test_an_instruction_is_done_or_not(part: str, good: str, bad: str) -> None:
    """The checks are held to answers that people would judge alike."""
    found = [one for one in instructions(99) if part in one.text]
    assert found
    for one in found:
        word = one.text.rpartition('the word "')[2].partition('"')[0]
        last = max([0, *map(int, re.findall(r"\d+", one.text))])
        told = {"word": word, "list": ", ".join(map(str, range(1, last + 1)))}
        assert one.done(good.format(**told)), one.text
        assert not one.done(bad.format(**told)), one.text
        assert not one.done("")
