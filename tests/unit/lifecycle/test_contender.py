"""What a candidate costs: counted in tokens and operations, the same on a busy machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.lifecycle.fakes import FakeModel, World
from tests.unit.lifecycle.test_ladder import plan
from tutelage.evaluate.run import Answer, Evaluation, Item, score
from tutelage.lifecycle.contender import Contender, standing
from tutelage.lifecycle.project import Models
from tutelage.lifecycle.run import run
from tutelage.lifecycle.rungs import parse
from tutelage.lifecycle.tools import Facts

SERVERS = ["http://a.example/v1#slow", "http://b.example/v1#fast"]


def evaluated(seconds: float, prompt_tokens: int = 30, text: str = "seven letters") -> Evaluation:
    items = [Item(str(n), "a question of thirty characters"[:30], "right") for n in range(4)]
    answers = [Answer(item.id, text, "stop", prompt_tokens, 5) for item in items]
    return score(items, answers, ["exact_match"], seconds=seconds)


def contender(**changes: Any) -> Contender:
    return Contender("c", "m", parse("lora"), development=evaluated(8.0), **changes)


def test_costs_are_tokens_times_weights_times_operations() -> None:
    tuned = contender(tuning={"seconds": 77.0}, trained_on=1000.0)
    found = standing(tuned, "exact_match", 10)
    assert (found.making, found.answering) == (4 * 10 * 1000, 2 * 10 * (30 + 5))
    tuned.rung = parse("full")
    assert standing(tuned, "exact_match", 10).making == 6 * 10 * 1000
    assert standing(contender(), "exact_match", 10).making == 0


def test_no_cost_hangs_on_the_clock() -> None:
    slow = contender(tuning={"seconds": 77.0}, trained_on=10.0)
    quick = contender(tuning={"seconds": 7.0}, trained_on=10.0)
    quick.development = evaluated(0.1)
    assert standing(slow, "exact_match", 1) == standing(quick, "exact_match", 1)


def test_tokens_that_a_server_does_not_count_are_estimated() -> None:
    one = contender()
    one.development = evaluated(8.0, prompt_tokens=0)
    assert standing(one, "exact_match", 1).answering == 2 * ((30 // 3 + 1) + (13 // 3 + 1))


@pytest.mark.parametrize("slow_one", SERVERS)
def test_the_front_of_servers_is_the_same_whichever_is_slow(
    slow_one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sizes are unknown, and one of two alike takes ten times as long."""
    monkeypatch.setattr("tutelage.lifecycle.answering.STANDARD", ("exact_match",))
    models = {
        name: FakeModel(parameters=None, seconds_a_row=1.0 if name == slow_one else 0.1)
        for name in SERVERS
    }
    world = World(models)
    monkeypatch.setattr("time.perf_counter", world.clock.now)
    tools = replace(world.tools(), describe=lambda source: Facts(source, weights=False))
    wanted = plan(tmp_path, ["zero-shot", "few-shot"], models=Models(candidates=SERVERS))
    record = run(wanted, out=tmp_path / "r", tools=tools)
    assert record["detail"]["front"] == ["slow-zero-shot"]  # the first of equals
    assert record["recommended"]["candidate"] == "slow-zero-shot"
