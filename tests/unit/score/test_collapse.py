"""One answer to everything is seen, and varying answers, or one that is right, are not."""

from __future__ import annotations

import pytest

from tutelage.score._collapse import Collapse, collapse

LABELS = ["good", "bad", "good", "good", "bad"]


def test_one_label_for_all_rows() -> None:
    found = collapse(["good "] * 5, LABELS)
    assert found == Collapse("good", "rows", 5, 0.6)
    assert "'good' is the answer to all 5 rows, which is right for 60.0%" in found.warning
    assert "--learning-rate" in found.warning and "--steps" in found.warning
    assert found.as_json()["warning"] == found.warning


def test_one_tag_for_all_words_of_rows_of_any_length() -> None:
    said = ["O O O", "O", "O O", "O O", "O O"]
    right = ["O B-x O", "O", "O O", "B-x I-x", "O O"]
    assert collapse(said, right) == Collapse("O", "words", 10, 0.7)


def test_always_the_first_choice_whatever_it_says() -> None:
    choices = [(f"wrong {n}", f"right {n}")[:: 1 if n % 2 else -1] for n in range(6)]
    right = [f"right {n}" for n in range(6)]
    found = collapse([one[0] for one in choices], right, choices)
    assert found == Collapse("(A)", "questions", 6, 0.5)
    assert collapse([one[0] for one in choices], ["AB"[n % 2] for n in range(6)], choices) == found
    assert collapse(right, right, choices) is None


def test_a_number_that_hardly_varies() -> None:
    found = collapse(["2.01", "2.0", "2.02", "2.0", "1.99"], ["0", "4", "1", "3", "5"])
    assert found == Collapse("2", "rows", 5, None) and "right for" not in found.warning
    assert collapse(["2.01", "2.0", "2.5", "2.0", "1.99"], ["0", "4", "1", "3", "5"]) is None


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (["good", "bad", "good", "good", "good"], LABELS),
        (["good"] * 5, ["good"] * 5),
        (["good"] * 4, LABELS[:4]),
        ([""] * 5, LABELS),
        (["1.0"] * 5, ["1.0"] * 5),
        (["O O", "O B-x", "O", "O", "O"], ["O B-x", "O O", "O", "O", "O"]),
        ([], []),
    ],
)
def test_nothing_is_said_of_answers_that_vary_or_are_right(
    said: list[str], right: list[str]
) -> None:
    assert collapse(said, right) is None
