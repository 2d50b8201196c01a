"""How a head learns: at a rate of its own where it is new, in updates of a size of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.heads.rows import rows_of, tuned
from tutelage.backends.open import open_lm
from tutelage.errors import ConfigError
from tutelage.evaluate.tasks import evaluate_rows
from tutelage.models.headed import TASK
from tutelage.peft import METHODS
from tutelage.peft._head import NEW_RATE
from tutelage.train.config import TuneConfig
from tutelage.train.examples import schedule
from tutelage.train.optimizer import at_pace
from tutelage.train.prepare import prepare, working

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
TAGS = "token-classification"


@pytest.mark.parametrize(
    ("head", "asked", "tokens"),
    [(TAGS, None, 256), (TAGS, 640, 640), ("classification", None, 1024)],
)
def test_tokens_of_an_update_are_the_heads_unless_given(
    head: str, asked: int | None, tokens: int, tmp_path: Path
) -> None:
    config = TuneConfig(head=head, method="lora", batch_tokens=asked)
    run = prepare("preset:bert-tiny", rows_of(head, tmp_path), config, **WHERE)
    assert run.config.batch_tokens == tokens
    assert run.steps == schedule(run.examples, run.config)


def rates(folder: Path, source: str = "preset:bert-tiny", **asked: Any) -> tuple[list[float], ...]:
    """Of the head's weights, and of all others, at the peak of the schedule."""
    run = prepare(source, rows_of(TAGS, folder), TuneConfig(**asked), **WHERE)
    _, work = working(run)
    assert run.config.learning_rate is not None
    at_pace(work.optimizer, run.config.learning_rate, 1.0)
    of = {
        id(parameter): group["lr"]
        for group in work.optimizer.param_groups
        for parameter in group["params"]
    }
    heads = {weight.path for weight in run.weights if weight.role == TASK}
    assert heads
    own = {of[id(p)] for name, p in work.parameters.items() if name in heads}
    others = {of[id(p)] for name, p in work.parameters.items() if name not in heads}
    return sorted(own), sorted(others)


@pytest.mark.parametrize("name", METHODS.names())
def test_a_new_head_learns_fast_enough_beside_every_method(name: str, tmp_path: Path) -> None:
    usual = METHODS.get(name).rate(headed=True)
    own, others = rates(tmp_path, "preset:llama-tiny", method=name, head=TAGS)
    assert others == [usual] and own == [pytest.approx(max(usual, NEW_RATE))]


def test_a_rate_that_is_named_holds(tmp_path: Path) -> None:
    own, others = rates(tmp_path, method="full", head=TAGS, head_rate=1e-5)
    assert own == [pytest.approx(1e-5)] and others == [1.5e-4]
    assert rates(tmp_path, method="full", head=TAGS, learning_rate=0.01) == ([0.01], [0.01])
    paced = {"layer_decay": 0.5, "unfreeze": 0.5}
    own, others = rates(tmp_path, method="full", head=TAGS, options=paced)
    assert own == [pytest.approx(NEW_RATE)] and len(others) > 1


def test_a_head_that_has_learned_goes_on_at_the_rate_of_the_others(tmp_path: Path) -> None:
    tuned(TAGS, tmp_path, "preset:bert-tiny", method="full")
    again = str(tmp_path / "out")
    assert rates(tmp_path, again, method="full") == ([1.5e-4], [1.5e-4])
    own, _ = rates(tmp_path, again, method="full", head_rate=3e-4)
    assert own == [pytest.approx(3e-4)]


def test_without_a_head_its_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare("preset:llama-tiny", rows_of(TAGS, tmp_path), TuneConfig(head_rate=1e-3), **WHERE)
    assert caught.value.field == "--head-rate"


def test_names_are_found_at_the_default_rate(tmp_path: Path) -> None:
    """Three words of four are in none: at full tuning's own rate `O` is the answer for longer."""
    found = []
    for rate in (None, 1.5e-4):
        folder = tmp_path / str(rate)
        tuned(
            TAGS, folder, "preset:bert-tiny", method="full", steps=30, batch_tokens=600,
            head_rate=rate,
        )  # fmt: skip
        lm = open_lm(str(folder / "out"), **WHERE)
        measured = evaluate_rows(lm, rows_of(TAGS, folder), (), ["span_f1"], max_new_tokens=8)
        found.append(measured.measured["span_f1"]["value"])
    assert found[0] > 0.9 and found[1] < 0.5
