"""Choosing among models: the cheapest whose loss is shown to be small, and what is said of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.contract.command import called
from tests.unit.evaluate.fakes import WordLM
from tutelage.errors import DataError
from tutelage.evaluate.languages import TEXTS, covered, entropy
from tutelage.evaluate.pick import Candidate, Picked, against, pick
from tutelage.evaluate.run import Answer, Evaluation, Item, score
from tutelage.evaluate.statistics import Comparison, n_needed

COUNT = 40
MANY = 1000


def _evaluation(right: int, ids: range = range(COUNT)) -> Evaluation:
    items = [Item(f"i{n}", "q", "yes") for n in ids]
    answers = [Answer(f"i{n}", "yes" if n < right else "no", "stop", 1, 1) for n in ids]
    return score(items, answers, ["exact_match"], seconds=1.0)


def _picked(
    goal: float | None = None, count: int = COUNT, margin: float = 0.05,
    **models: tuple[int, float],
) -> Picked:  # fmt: skip
    found = [
        Candidate(name, _evaluation(right, range(count)), cost)
        for name, (right, cost) in models.items()
    ]
    return pick(found, "exact_match", goal, margin=margin)


def _pick(goal: float | None = None, **models: tuple[int, float]) -> str:
    found = [Candidate(name, _evaluation(right), cost) for name, (right, cost) in models.items()]
    return pick(found, "exact_match", goal).name


def test_the_cheapest_whose_loss_is_shown_to_be_small() -> None:
    found = _picked(count=MANY, large=(800, 9.0), small=(790, 1.0), tiny=(300, 0.1))
    assert found.name == "small" and found.best == "large"
    assert found.others["small"].standing == "as good" and found.others["small"].high <= 0.05
    assert found.others["tiny"].standing == "worse" and "cheaper and worse: tiny" in found.reason
    assert _pick(large=(30, 9.0), small=(10, 1.0)) == "large"
    assert _pick(large=(30, 9.0), small=(31, 1.0)) == "small"


def test_few_rows_show_nothing() -> None:
    """The rule this replaces took the cheaper one: ten rows do not show that it is worse."""
    found = _picked(count=10, large=(9, 9.0), small=(7, 1.0))
    one = found.others["small"]
    assert found.name == "large" and one.p_value > 0.05 and one.standing == "cannot tell"
    assert "cannot tell whether small" in found.reason and f"{one.n_needed} rows" in found.reason
    assert one.n_needed is not None and one.n_needed > 10
    assert _picked(count=10, margin=0.9, large=(9, 9.0), small=(7, 1.0)).name == "small"


def test_so_many_rows_would_tell() -> None:
    """Simulated: with the rows it asks for, an equal model is called so in four of five cases."""
    generator = np.random.default_rng(3)
    spread = 0.4
    asked = n_needed(0.05, spread)
    assert asked is not None
    told = 0
    for _ in range(200):
        gaps = generator.normal(0, spread, asked)
        half = 1.96 * gaps.std() / np.sqrt(asked)
        mean = float(gaps.mean())
        test = Comparison(mean, mean - half, mean + half, 0.5, asked, None)
        told += against(test, 0.5, 0.05).standing == "as good"
    assert 0.7 < told / 200 < 0.9
    again = against(Comparison(0.0, -0.1, 0.1, 1.0, 61, None), 1.0, 0.05)
    assert again.n_needed == pytest.approx(asked, rel=0.02)


def test_of_errors_less_is_better() -> None:
    test = Comparison(-0.02, -0.04, 0.0, 0.2, 500, None)  # the best has 0.02 fewer errors
    found = against(test, 0.2, 0.05, errors=True)
    assert (found.loss, found.low, found.high) == (0.02, 0.0, 0.04) and found.standing == "as good"


def test_a_goal_is_reached_by_the_lower_bound() -> None:
    assert _pick(0.2, large=(38, 9.0), small=(20, 1.0), tiny=(5, 0.1)) == "small"
    reason = pick(
        [Candidate("a", _evaluation(20), 1), Candidate("b", _evaluation(38), 2)],
        "exact_match", 0.99,
    ).reason  # fmt: skip
    assert "none reaches the goal" in reason


def test_rows_in_common_are_compared() -> None:
    most = Candidate("a", _evaluation(10), 1)
    fewer = Candidate("b", _evaluation(10, range(20)), 2)
    assert pick([most, fewer], "exact_match").name == "a"
    with pytest.raises(DataError, match="too few rows"):
        pick([most, Candidate("c", _evaluation(0, range(100, 140)), 2)], "exact_match")


def test_languages_are_read() -> None:
    sure = covered(WordLM(probabilities={word: 0.9 for word in TEXTS["en"].split()}))
    assert sure is not None and sure["en"]["covered"]
    unsure = covered(WordLM(probabilities=dict.fromkeys(" ".join(TEXTS.values()).split(), 1e-12)))
    # Chinese and Japanese are one word each to this model, however unlikely.
    assert unsure is not None
    assert {name for name, one in unsure.items() if one["covered"]} == {"zh", "ja"}
    assert entropy("aabb") == 1.0 and len(TEXTS) == 11


def _script(path: Path, right: int) -> str:
    lines = [{"match": f"q{n}\\b", "reply": "yes" if n < right else "no"} for n in range(COUNT)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"scripted:{path}"


def test_the_verb_makes_one_table(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"q{n}", "completion": "yes"} for n in range(COUNT)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    good, bad = _script(tmp_path / "good.jsonl", 35), _script(tmp_path / "bad.jsonl", 5)
    done = called(
        "eval", "--select", good, bad, "preset:nothing", "--data", str(data),
        "--metric", "exact_match", "--price-per-hour", "36",
    )  # fmt: skip
    assert done.code == 0 and done.found["recommended"] == good
    first, second, third = done.found["models"]
    assert first["metrics"]["exact_match"]["value"] == 35 / COUNT and second["p_value"] < 0.05
    assert third["status"] == "failed" and "nothing" in third["reason"]
    assert first["cost_per_answer"] == pytest.approx(first["seconds_per_answer"] / 100)
    assert done.found["margin"] == 0.05 and second["against_best"]["standing"] == "worse"
    assert first["licence"] is None and first["languages"] is None


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (["--select", "scripted:x"], "--select"), (["m", "--select", "a", "b"], "MODEL"),
        (["--select", "a", "b", "--task", "gsm8k"], "--select"), (["m", "--goal", "1"], "--goal"),
        ([], "MODEL"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_named(more: list[str], field: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    done = called("eval", *more, "--data", str(tmp_path / "x.jsonl"))
    assert done.code == 2 and field in done.found["error"]["field"]
