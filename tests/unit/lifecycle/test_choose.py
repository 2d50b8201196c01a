"""Choices among numbers: fronts against brute force, dominated models, every kind of verdict."""

from __future__ import annotations

import itertools
import random

from tutelage.lifecycle.choose import Interval, Standing, dominated, front, recommend


def stand(
    name: str, value: float, making: float = 0.0, answering: float = 1.0, model: str = "m"
) -> Standing:
    return Standing(name, model, Interval(value, value - 0.1, value + 0.1, 50), making, answering)


def test_the_front_is_what_no_other_beats() -> None:
    generator = random.Random(0)
    for _ in range(200):
        standings = [
            stand(str(n), *(generator.randint(0, 3) / 4 for _ in range(3))) for n in range(7)
        ]
        kept = {one.name for one in front(standings)}
        for one in standings:
            beaten = any(
                (other.quality.value, -other.making, -other.answering)
                != (one.quality.value, -one.making, -one.answering)
                and other.quality.value >= one.quality.value
                and other.making <= one.making
                and other.answering <= one.answering
                for other in standings
            )
            equal_before = any(
                (other.quality.value, other.dearness) == (one.quality.value, one.dearness)
                for other in standings[: standings.index(one)]
            )
            assert (one.name in kept) == (not beaten and not equal_before)


def test_the_front_does_not_hang_on_order_and_is_cheapest_first() -> None:
    standings = [
        stand("dear", 0.9, making=5),
        stand("cheap", 0.2),
        stand("wordy", 0.5, answering=3),
        stand("beaten", 0.4, making=1, answering=3),
    ]
    for order in itertools.permutations(standings):
        assert [one.name for one in front(order)] == ["cheap", "wordy", "dear"]


def test_a_base_model_below_a_cheaper_one_is_dropped_with_the_numbers() -> None:
    weak = stand("weak-few-shot", 0.2, answering=2, model="weak")
    strong = stand("strong-zero-shot", 0.6, answering=1, model="strong")
    reasons = dominated([weak, strong], "rougeL")
    assert set(reasons) == {"weak"}
    assert "rougeL 0.200 (0.100 to 0.300)" in reasons["weak"]
    assert "strong-zero-shot with 0.600" in reasons["weak"] and "50% of it" in reasons["weak"]


def test_a_weaker_model_stays_if_it_is_cheaper_or_not_surely_weaker() -> None:
    strong = stand("strong", 0.6, answering=2, model="strong")
    assert dominated([stand("cheap", 0.2, answering=1, model="cheap"), strong], "m") == {}
    assert dominated([stand("close", 0.45, answering=3, model="close"), strong], "m") == {}


def test_a_model_stands_with_its_best_cheap_candidate() -> None:
    poor, good = stand("a-0", 0.1, model="a"), stand("a-1", 0.65, answering=5, model="a")
    assert dominated([poor, good, stand("b-0", 0.6, model="b")], "m") == {}


def ranked(*tests: tuple[str, float]) -> list[tuple[Standing, Interval]]:
    return [
        (stand(name, value, making=float(place)), Interval(value, value - 0.05, value + 0.05, 200))
        for place, (name, value) in enumerate(tests)
    ]


def test_the_cheapest_whose_lower_bound_reaches_the_goal_is_recommended() -> None:
    front = ranked(("zero", 0.2), ("few", 0.27), ("lora", 0.31), ("full", 0.35))
    verdict = recommend(front, "rougeL", 0.25, lambda a, b: 0.0)
    assert verdict.name == "lora" and verdict.reached is True
    assert "0.310 (0.260 to 0.360) on 200 test rows" in verdict.reason
    assert "few, has 0.270" in verdict.reason


def test_the_goal_counts_as_met_at_the_bound_itself() -> None:
    assert recommend(ranked(("a", 0.3)), "m", 0.25, lambda a, b: 0.0).name == "a"
    assert recommend(ranked(("a", 0.3)), "m", 0.2501, lambda a, b: 0.0).reached is False


def test_without_a_goal_the_cheapest_not_significantly_worse_than_the_best() -> None:
    front = ranked(("zero", 0.1), ("lora", 0.30), ("full", 0.31))
    p = {("full", "zero"): 0.001, ("full", "lora"): 0.4}
    verdict = recommend(front, "m", None, lambda a, b: p[a, b])
    assert verdict.name == "lora" and verdict.reached is None
    verdict = recommend(front, "m", None, lambda a, b: 0.001)
    assert verdict.name == "full" and "every cheaper one is significantly worse" in verdict.reason


def test_a_goal_that_none_reaches_is_said() -> None:
    verdict = recommend(ranked(("zero", 0.1), ("lora", 0.3)), "m", 0.9, lambda a, b: 0.001)
    assert verdict.name == "lora" and verdict.reached is False
    assert verdict.reason.startswith("Goal not reached")


def test_nothing_measured_recommends_nothing() -> None:
    assert recommend([], "m", 0.5, lambda a, b: 1.0).name is None
