"""The index finds exactly what comparing all pairs finds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.near_duplicates import first_likes, jaccard, plain, remove, row_text, shingles
from tutelage.data.rows import Row
from tutelage.lm import Message


def brute_force(texts: list[str], threshold: float) -> list[tuple[int, float] | None]:
    sets = [shingles(text) for text in texts]
    result: list[tuple[int, float] | None] = []
    for number, found in enumerate(sets):
        likes = (
            (other, len(found & sets[other]) / len(found | sets[other]))
            for other in range(number)
            if result[other] is None
        )
        result.append(next((like for like in likes if like[1] >= threshold - 1e-9), None))
    return result


TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9).map(" ".join), max_size=25
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from([0.1, 1 / 3, 0.5, 0.75, 0.8, 1.0]))
def test_no_pair_is_missed_and_none_invented(texts: list[str], threshold: float) -> None:
    assert first_likes(texts, threshold) == brute_force(texts, threshold)


def test_planted_copies_among_thousands_are_found() -> None:
    source = random.Random(0)
    vocabulary = [f"w{n}" for n in range(2000)]
    texts = [" ".join(source.choices(vocabulary, k=60)) for _ in range(2000)]
    planted = {}
    for n in range(0, 2000, 20):
        changed = texts[n].split()
        changed[source.randrange(60)] = "changed"
        planted[len(texts)] = n
        texts.append(" ".join(changed).upper() + "!")
    likes = first_likes(texts)
    assert {n: like[0] for n, like in enumerate(likes) if like} == planted


def test_case_space_and_punctuation_do_not_count() -> None:
    assert plain("Return  THE\tsum, of (x).") == "return the sum of x"
    assert first_likes(["A b, c d!", "a B c\nd"]) == [None, (0, 1.0)]
    assert first_likes(["", " ", "+", "-"]) == [None, (0, 1.0), None, None]


def test_jaccard_of_shingles_in_closed_form() -> None:
    a, b = shingles("a b c d e"), shingles("a b c d x")
    assert jaccard(a, b) == pytest.approx(2 / 4)


def test_rows_keep_their_order_and_removed_ones_are_named() -> None:
    texts = ["one two three four", "five six", "One two three four.", "five six seven"]
    rows = [Row(str(n), str(n), (Message("user", t),), "x") for n, t in enumerate(texts)]
    kept, removed = remove(rows)
    assert [row.id for row in kept] == ["0", "1", "3"]
    assert [(one.id, one.kept_id, one.similarity) for one in removed] == [("2", "0", 1.0)]


def test_all_texts_of_a_row_count() -> None:
    row = Row("1", "1", (Message("user", "ask"),), extra={"completions": ["p", "q"]})
    assert row_text(row) == "ask\np\nq"
    assert row_text(Row("1", "1", text="t", extra={"chosen": "abc"})) == "t\nabc"
