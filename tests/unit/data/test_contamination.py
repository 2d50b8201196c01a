"""Planted test rows are found in training rows, by kind; shared instructions give no alarm."""

from __future__ import annotations

import random

import pytest

from tutelage.data.contamination import overlap, same_text
from tutelage.data.rows import Loaded, Row
from tutelage.data.split import Sizes, split
from tutelage.lm import Message

INSTRUCTION = (
    "You are a careful assistant. Read the following text with great care and then write down "
    "what it says in one short and simple sentence: "
)


def row(name: str, prompt: str, completion: str) -> Row:
    return Row(name, name, (Message("user", prompt),), completion)


def prose(source: random.Random, words: int) -> str:
    return " ".join(f"w{source.randrange(3000)}" for _ in range(words))


def made(name: str, count: int, seed: int, instruction: str = "") -> list[Row]:
    source = random.Random(seed)
    return [
        row(f"{name}{n}", instruction + prose(source, 40), prose(source, 8)) for n in range(count)
    ]


@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
@pytest.mark.parametrize("count", [20, 400])
def test_planted_rows_are_all_found_and_no_others(instruction: str, count: int) -> None:
    train = made("train", count, 1, instruction)
    test = made("test", 60, 2, instruction)
    source = random.Random(3)
    expected = {}
    for n in range(0, 60, 3):
        like = train[n % count]
        prompt, answer = like.messages[0].content, like.completion or ""
        kind = ("exact", "near", "n-gram")[n // 3 % 3]
        if kind == "exact":
            prompt = prompt.upper().replace(" ", "\n  ") + "!"
        elif kind == "near":
            prompt = prompt + " indeed"
        else:
            run = " ".join(prompt.split()[-20:-6])
            prompt = f"{instruction}{prose(source, 20)} {run} {prose(source, 20)}"
            answer = prose(source, 8)
        test[n] = row(f"test{n}", prompt, answer)
        expected[f"test{n}"] = (like.id, kind)
    found = overlap(train, test)
    assert found.n == 60
    assert {p.test_id: (p.train_id, p.kind) for p in found.pairs} == expected
    assert found.ids == {test_id: pair[0] for test_id, pair in expected.items()}
    assert sum(found.counts().values()) == len(expected)
    assert [int(p.test_id.removeprefix("test")) for p in found.pairs] == sorted(
        int(name.removeprefix("test")) for name in expected
    )


def test_similarities_say_how_much() -> None:
    words = [f"w{n}" for n in range(40)]
    train = [row("a", " ".join(words), "x")]
    exact, near, part = overlap(
        train,
        [
            row("same", " ".join(words), "X"),
            row("near", " ".join([*words, "y"]), "x"),
            row("part", " ".join([*"abcdefgh", *words[:13], *"ijklmnop"]), "q"),
        ],
    ).pairs
    assert (exact.kind, exact.similarity) == ("exact", 1.0)
    # 41 words and 42: 39 and 40 runs of three, of which those with the last word or two differ
    assert (near.kind, near.similarity) == ("near", pytest.approx(38 / 41))
    assert (part.kind, part.similarity) == ("n-gram", pytest.approx(1 / 18))


def test_short_rows_that_share_an_instruction_are_not_contaminated() -> None:
    """Classification: a long common prompt, a few words that differ, few answers."""
    train = [row(f"t{n}", f"{INSTRUCTION}blik{n}", "AB"[n % 2]) for n in range(50)]
    test = [row(f"u{n}", f"{INSTRUCTION}zorp{n}", "AB"[n % 2]) for n in range(20)]
    assert overlap(train, test).pairs == ()
    assert overlap(train, [*test, row("copy", train[7].messages[0].content, "B")]).ids == {
        "copy": "t7"
    }


def test_symbols_and_answers_tell_exact_rows_apart() -> None:
    train = [row("a", "12 + 5", "17"), row("b", "x+y", "sum")]
    test = [row("p", "12 - 5", "7"), row("q", "12 + 5", "18"), row("r", "x-y", "sum")]
    assert overlap(train, test).pairs == ()
    assert overlap(train, [row("s", " 12  +\n5", "17.")]).ids == {"s": "a"}


def test_texts_are_compared_without_case_space_and_edges() -> None:
    assert same_text(row("a", '"Hello,\n  WORLD!"', "...")) == "hello world ..."


def test_nothing_to_compare() -> None:
    assert overlap([], made("t", 3, 0)).pairs == ()
    assert overlap(made("t", 3, 0), []).n == 0


def test_the_real_set_split_by_module_is_hardly_contaminated(docstrings: Loaded) -> None:
    parts = split(docstrings.rows, Sizes(1000, 100, 200), 0)
    found = overlap(parts.train, parts.test)
    assert len(found.pairs) <= 10
    copied = overlap(parts.train, [*parts.test, *parts.train[::10]])
    assert set(found.ids) | {row.id for row in parts.train[::10]} == set(copied.ids)
