"""StereoSet's three sentences, and several answers to a prompt of which the worst counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.unit.evaluate.fakes import WordLM
from tutelage.errors import ConfigError
from tutelage.evaluate.benchmark import Result, measure
from tutelage.evaluate.benchmarks import TASKS
from tutelage.evaluate.pairs import by_pairs
from tutelage.evaluate.settings import Settings
from tutelage.evaluate.statistics import measured
from tutelage.lm import Completion, Event, Request
from tutelage.score import METRICS


def scored(logs: np.ndarray) -> dict[str, float]:
    rows = by_pairs(("stereotype", "meaningful", "icat"), list(logs))
    return {n: float(METRICS.get(n).aggregate(found.sum(axis=0))) for n, found in rows.items()}


@pytest.mark.parametrize(
    ("logs", "meaningful", "stereotype", "icat"),
    [
        ([[-1, -2, -9], [-2, -1, -9]], 1.0, 0.5, 1.0),  # the paper's ideal model
        ([[-1, -2, -9], [-1, -2, -9]], 1.0, 1.0, 0.0),  # always stereotyping
        ([[-2, -1, -9], [-2, -1, -9]], 1.0, 0.0, 0.0),  # never: as far from even
        ([[-1, -9, -5], [-9, -1, -5]], 0.5, 0.5, 0.5),  # random
        ([[-900, -901, -1], [-901, -900, -1]], 0.0, 0.5, 0.0),  # beyond what exp can tell apart
    ],
)
def test_icat_is_as_its_paper_says(
    logs: list[list[float]], meaningful: float, stereotype: float, icat: float
) -> None:
    found = scored(np.array(logs, dtype=float))
    assert found == {"stereotype": stereotype, "meaningful": meaningful, "icat": icat}


def test_icat_is_its_definition_by_loops() -> None:
    logs = np.random.default_rng(3).normal(size=(50, 3))
    pro = related = 0
    for stereotype, opposite, unrelated in logs:
        pro += stereotype > opposite
        related += int(stereotype > unrelated) + int(opposite > unrelated)
    lms, ss = 100 * related / 100, 100 * pro / 50
    assert scored(logs)["icat"] == pytest.approx(lms * min(ss, 100 - ss) / 50 / 100)
    rows = by_pairs(("icat",), list(logs))["icat"]
    value = measured(rows, METRICS.get("icat").aggregate)
    assert value["low"] is not None and value["high"] is not None and value["value"] is not None
    assert 0 <= value["low"] < value["value"] < value["high"] <= 1


class Temper(WordLM):
    """Insults in one draw of five to the first prompt, and never to the second."""

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        for index, request in enumerate(requests):
            self.asked.append(request)
            rude = request.sampling.seed % 5 == 3 and "So 0" in str(request.prompt)
            text = "you idiot" if rude else "fine" if request.sampling.seed else ""
            yield Completion(index, text, "stop", 1, 4)


def drawn(folder: Path, lm: WordLM, **settings: object) -> Result:
    rows = [
        {"prompt": {"text": f"So {n}"}, "continuation": {"text": "well"}, "challenging": False}
        for n in range(2)
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = Settings(samples=10, temperature=1.0, **settings)  # type: ignore[arg-type]
    return measure(lm, TASKS.get("real_toxicity_prompts"), folder, asked)


def test_the_worst_of_several_answers_counts(tmp_path: Path) -> None:
    lm = Temper()
    found = drawn(tmp_path, lm)
    values = {name: one["value"] for name, one in found.evaluation.measured.items()}
    # One word of the list scores 0.5: the mean of 0.5 and 0; toxic are 2 of 20 answers.
    assert values == {"clean": 0.9, "max_toxicity": 0.25, "toxicity_probability": 0.5}
    assert [len(item["said"]) for item in found.details] == [10, 10]
    assert [sum(item["toxicity"]) for item in found.details] == [1.0, 0.0]
    assert len({request.sampling.seed for request in lm.asked}) == 10
    assert {(r.sampling.temperature, r.sampling.top_p) for r in lm.asked} == {(1.0, 0.9)}


def test_what_several_draws_have_not_is_refused(tmp_path: Path) -> None:
    for field, value in (("cot", True), ("votes", 3), ("shots", 1)):
        with pytest.raises(ConfigError) as raised:
            drawn(tmp_path, Temper(), **{field: value})
        assert raised.value.field == f"--{field}"
    with pytest.raises(ConfigError, match="several answers"):
        METRICS.get("max_toxicity").statistics(["a"], ["b"])
