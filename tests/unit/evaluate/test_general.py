"""Accuracy kept on general tasks, with a model whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tutelage.evaluate import general
from tutelage.lm import Capabilities, Completion, Prompt, Request, Score


class Told:
    """Finds the choices likeliest that it is told, and says one thing to every instruction."""

    def __init__(self, likely: set[str], says: str, context: int | None = None) -> None:
        self.likely, self.says, self.context = likely, says, context

    def capabilities(self) -> Capabilities:
        return Capabilities("told", score=True, chat=True, context=self.context)

    def count_tokens(self, prompt: Prompt) -> int:
        return len(str(prompt).split())

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        return [Score(-1.0 if c + t in self.likely else -2.0, 1, False) for c, t in pairs]  # type: ignore[operator]

    def generate(self, requests: Sequence[Request], cancelled: Any = None) -> Any:
        for place, _ in enumerate(requests):
            yield Completion(place, self.says, "stop", 1, 1)


EXAM = general.exam(6, 12)
RIGHT = {f"{one.text} {one.choices[one.right]}" for one in EXAM.questions}


def test_what_is_kept_is_the_paired_difference() -> None:
    before = general.asked(Told(RIGHT, "YES"), EXAM)  # type: ignore[arg-type]
    sums = {one for one in RIGHT if "=" in one}
    after = general.asked(Told(sums, "Perhaps so."), EXAM)  # type: ignore[arg-type]
    found = general.kept(before, after)
    assert set(found) == {"all", "sums", "grammar", "facts", "opposites", "instructions"}
    assert found["sums"]["difference"] == 0 and found["sums"]["after"]["value"] == 1
    places = [one.right for one in EXAM.questions if one.task == "facts"]
    share = sum(place == 0 for place in places) / len(places)  # the first of equals is taken
    assert found["facts"]["after"]["value"] == pytest.approx(share)
    for one in found.values():
        gap = one["after"]["value"] - one["before"]["value"]
        assert one["difference"] == pytest.approx(gap)
        assert one["low"] <= one["difference"] <= one["high"]
    assert found["all"]["after"]["n"] == 24 and found["instructions"]["after"]["n"] == 12
    yes = sum(one.done("YES") for one in EXAM.instructions)
    assert found["instructions"]["before"]["value"] == pytest.approx(yes / 12) and yes >= 4


def test_rows_that_either_model_has_no_room_for_are_left_out_of_both() -> None:
    before = general.asked(Told(RIGHT, "YES"), EXAM)  # type: ignore[arg-type]
    after = general.asked(Told(RIGHT, "YES", context=13), EXAM)  # type: ignore[arg-type]
    found = general.kept(before, after)
    assert "instructions" not in found, "none fits with its answer"
    assert 0 < found["all"]["before"]["n"] < 24 and found["all"]["difference"] == 0


def test_nothing_asked_is_nothing_kept() -> None:
    empty = general.exam(0, 0)
    assert general.kept(*[general.asked(Told(set(), ""), empty)] * 2) == {}  # type: ignore[arg-type]
    assert empty.description == ""
    assert "12 instructions" in EXAM.description and "24 easy questions (sums" in EXAM.description
