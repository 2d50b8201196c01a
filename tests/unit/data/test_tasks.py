"""Mixing of tasks against the papers' formula, replay, turns and templates."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tutelage.data.load import load
from tutelage.data.replay import replay
from tutelage.data.retention import retention
from tutelage.data.rows import Row, SetAside
from tutelage.data.shapes import Record, row_from
from tutelage.data.tasks import counts, each_turn, mixed, replayed
from tutelage.errors import ConfigError
from tutelage.lm import Message


def task(name: str, count: int) -> list[Row]:
    return [
        Row(f"{name}{n}", f"{name}:{n}", (Message("user", str(n)),), str(n)) for n in range(count)
    ]


def test_a_cap_and_a_temperature_give_the_papers_proportions() -> None:
    """T5, section 3.5.2, by hand: min(e, K) = 10, 100, 400; square roots 3.162, 10, 20 of 510."""
    sizes = {"a": 10, "b": 100, "c": 9000}
    assert [one.taken for one in counts(sizes, cap=400)] == [10, 100, 400]
    assert [one.taken for one in counts(sizes, cap=400, temperature=2)] == [49, 154, 307]
    even = [one.taken for one in counts(sizes, cap=400, temperature=1e9)]
    assert even == [170, 170, 170]
    assert [one.taken for one in counts(sizes)] == [10, 100, 9000]


@pytest.mark.parametrize(("cap", "temperature"), [(0, 1.0), (None, 0.0), (None, float("nan"))])
def test_what_is_no_cap_or_temperature_is_refused(cap: int | None, temperature: float) -> None:
    with pytest.raises(ConfigError) as caught:
        counts({"a": 1}, cap=cap, temperature=temperature)
    assert caught.value.field in ("--cap", "--temperature")


def test_every_row_is_taken_once_before_any_comes_again() -> None:
    rows, taken = mixed({"a": task("a", 4), "b": task("b", 40)}, temperature=1e9, seed=3)
    assert [one.taken for one in taken] == [22, 22]
    seen = Counter(row.id for row in rows)
    assert {seen[f"a{n}"] for n in range(4)} == {5, 6}
    assert sorted(count for name, count in seen.items() if name[0] == "b") == [1] * 22
    assert rows == mixed({"a": task("a", 4), "b": task("b", 40)}, temperature=1e9, seed=3)[0]
    assert rows != mixed({"a": task("a", 4), "b": task("b", 40)}, temperature=1e9, seed=4)[0]


def test_one_task_is_left_as_it_is() -> None:
    rows = task("a", 7)
    assert mixed({"a": rows})[0] == tuple(rows)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_general_rows_are_the_share_of_all(share: float) -> None:
    rows = replayed(task("a", 90), task("g", 12), share)
    general = sum(row.id[0] == "g" for row in rows)
    assert general / len(rows) == pytest.approx(share, abs=0.006)
    with pytest.raises(ConfigError):
        replayed(rows, rows, 1.0)


def test_text_that_forgetting_is_measured_on_is_never_replayed() -> None:
    found = {row.text for row in replay("builtin:stdlib-docs")}
    assert len(found) > 100 and not found & set(retention().texts)


def conversation(weights: tuple[int | None, ...]) -> Row:
    turns = []
    for n, weight in enumerate(weights):
        turns.append({"role": "user", "content": f"q{n}"})
        answer = {"role": "assistant", "content": f"a{n}"}
        turns.append(answer if weight is None else {**answer, "weight": weight})
    found = row_from(Record("f:1", "c", {"messages": turns}))
    assert isinstance(found, Row)
    return found


def test_every_answer_is_a_row_with_the_turns_before_it() -> None:
    row = conversation((None, None, None))
    found = each_turn([row])
    assert [(one.id, one.completion, len(one.messages)) for one in found] == [
        ("c#1", "a0", 1), ("c#3", "a1", 3), ("c", "a2", 5)
    ]  # fmt: skip
    assert found[-1].messages == row.messages


def test_turns_of_weight_zero_are_read_and_not_learned() -> None:
    row = conversation((0, 1, 0))
    assert [one.completion for one in each_turn([row])] == ["a1"]
    again = row_from(Record("f:1", "c", json.loads(json.dumps(row.as_json()))))
    assert again == row
    bad = row_from(Record("f:1", "c", {"messages": [
        {"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 2}
    ]}))  # fmt: skip
    assert isinstance(bad, SetAside) and "weight" in bad.detail


def test_each_row_gets_one_of_several_templates(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"x": n, "completion": "y"}) for n in range(300)))
    prompts = ["first {x}", "second {x}", "{x} third"]
    found = load(str(path), prompt=prompts, answered=True)
    kinds = Counter(
        next(n for n, p in enumerate(prompts) if p.format(x=place) == row.messages[0].content)
        for place, row in enumerate(found.rows)
    )
    assert min(kinds.values()) > 70 and len(kinds) == 3
    assert load(str(path), prompt=prompts, answered=True) == found
    assert load(str(path), prompt=prompts, answered=True, seed=1) != found
    with pytest.raises(ConfigError, match="absent"):
        load(str(path), prompt=["first {x}", "{absent}"])
