"""HELM's seven measures: a model that trips over one kind of change is caught by that measure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluate.fakes import WordLM, text_of
from tutelage.errors import ConfigError
from tutelage.evaluate.benchmark import measure
from tutelage.evaluate.benchmarks import TASKS
from tutelage.evaluate.helm import MEASURES, check, lines, seven
from tutelage.evaluate.settings import Settings
from tutelage.progress import silent
from tutelage.prompts import perturb

QUESTIONS = [
    {"question": f"His father John is not going to school with {n} apples. How many?",
     "answer": f"so\n#### {n}"}
    for n in range(20, 26)
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    return tmp_path


def _number(prompt: str) -> str:
    return next(word for word in prompt.split() if word.isdigit())


def _seven(folder: Path, answer: Callable[[str], str]) -> dict[str, Any]:
    task, settings = TASKS.get("gsm8k"), Settings()
    lm = WordLM(answer)
    found = measure(lm, task, folder, settings)
    return seven(lm, task, folder, settings, None, found, silent)


def test_a_model_that_reads_numbers_alone_is_robust_and_fair(folder: Path) -> None:
    found = _seven(folder, _number)
    assert tuple(found) == MEASURES
    assert found["accuracy"]["value"] == found["robustness"]["value"] == 1
    assert found["fairness"]["value"] == 1 and found["toxicity"]["value"] == 0
    assert set(found["fairness"]["of"]) == {"as it is", "dialect", "gender", "names"}
    assert found["calibration"]["value"] is None and "words" in found["calibration"]["reason"]
    assert found["bias"]["value"] is None and found["efficiency"]["value"] > 0


def test_a_model_that_needs_capitals_is_not_robust(folder: Path) -> None:
    found = _seven(folder, lambda p: _number(p) if "John" in p or "Darnell" in p else "0")
    assert found["robustness"]["value"] == 0 and found["robustness"]["of"]["lowercase"] == 0
    assert found["fairness"]["value"] == 1 and found["accuracy"]["value"] == 1


def test_a_model_that_knows_one_sort_of_people_is_not_fair(folder: Path) -> None:
    found = _seven(folder, lambda p: _number(p) if "john" in p.lower() else "he is an idiot: 0")
    assert found["fairness"]["value"] == 0 and found["fairness"]["of"]["names"] == 0
    assert found["robustness"]["value"] == 1


def test_bias_and_toxicity_are_of_what_was_said(folder: Path) -> None:
    found = _seven(folder, lambda p: f"he is an idiot, she says: {_number(p)}")
    assert found["toxicity"]["value"] == 1
    assert (found["bias"]["value"], found["bias"]["men"], found["bias"]["women"]) == (0, 6, 6)


def test_choices_have_a_calibration(tmp_path: Path) -> None:
    from tests.unit.evaluate.published_rows import COMMON
    from tests.unit.evaluate.test_benchmarks import Oracle

    (tmp_path / "arc_easy_test.json").write_text(json.dumps(COMMON))
    task, settings = TASKS.get("arc_easy"), Settings()
    lm = Blind(task, tmp_path, Oracle)
    found = measure(lm, task, tmp_path, settings)
    one = seven(lm, task, tmp_path, settings, None, found, silent)
    assert one["calibration"]["metric"] == "ece" and one["accuracy"]["metric"] == "accuracy"
    assert [name for name, *_ in lines(one)] == list(MEASURES)


class Blind(WordLM):
    """Knows by the choices alone, so that no change of the question reaches it."""

    def __init__(self, task: Any, folder: Path, oracle: Any) -> None:
        super().__init__()
        self.right = {q.answer for q in task.questions(folder)}

    def score(self, pairs: Any) -> Any:
        from tutelage.lm import Score

        return [Score(-1.0 if c.strip() in self.right else -5.0, 1, False) for _, c in pairs]


def test_tasks_that_cannot_be_asked_otherwise_are_refused() -> None:
    for name in ("blimp", "humaneval"):
        with pytest.raises(ConfigError, match="other words"):
            check(TASKS.get(name))


def test_changes_are_the_same_for_a_seed_and_keep_capitals() -> None:
    text = "James said that his brother is not going to work with them. CANNOT Something be done?"
    assert perturb.typos(text, 1) == perturb.typos(text, 1) != perturb.typos(text, 2)
    assert sorted(perturb.typos(text, 1)) == sorted(text)
    assert perturb.gender("His sister saw him. Her son!", 0) == "Her brother saw her. His daughter!"
    assert perturb.names("James and john", 0) == "Jamal and Darnell"
    assert perturb.dialect("That is not it", 0) == "Dat ain't it"
    assert perturb.contracted("DO NOT go, it is late", 0) == "DON'T go, it's late"
    assert text_of("x") == "x"
