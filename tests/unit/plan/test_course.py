"""The taught sum of GPT-3's parameters, and the lines that lead from it to the built model."""

from __future__ import annotations

from tutelage.models.catalogue import find_preset, layout
from tutelage.plan.course import course_table


def test_gpt3_as_it_is_taught() -> None:
    found = course_table(layout(find_preset("gpt3-175b")))
    parts = {row["part"]: row["parameters"] for row in found["rows"]}
    assert parts == {
        "positions": 25_165_824,
        "tokens": 617_558_016,
        "attention": 57_982_058_496,
        "feed-forward": 115_970_015_232,
    }
    shares = [round(100 * row["share"], 2) for row in found["rows"]]
    assert shares == [0.01, 0.35, 33.21, 66.42]
    assert found["sum"] == 174_594_797_568
    assert found["sum"] + sum(row["parameters"] for row in found["left_out"]) == found["built"]
    assert found["built"] == 174_604_259_328


def test_gpt3s_table_has_the_taught_numbers_and_the_line_to_their_total() -> None:
    found = course_table(layout(find_preset("gpt3-175b")))
    for row in found["rows"]:
        assert row["taught_millions"] == row["parameters"] // 10**6
    assert [row["taught_millions"] for row in found["rows"]] == [25, 617, 57_982, 115_970]
    assert found["taught_millions"] == 174_597
    reached = sum(line["parameters"] for line in found["taught_total"])
    assert round(reached / 1e6) == 174_597 and reached == 174_597_156_864
    assert "taught_millions" not in course_table(layout(find_preset("gpt2")))


def test_every_weight_is_on_one_side() -> None:
    for name in ("bert-base", "llama-7b", "bloom-560m"):
        found = course_table(layout(find_preset(name)))
        left = sum(row["parameters"] for row in found["left_out"])
        assert found["sum"] + left == found["built"]
