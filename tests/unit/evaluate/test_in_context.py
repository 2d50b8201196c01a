"""Models that learn one thing alone of examples, and the condition that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.contract.command import called
from tests.unit.evaluate.fakes import WordLM
from tutelage.data.load import load
from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.in_context import GOLD, conditions, labels_of, run
from tutelage.lm import Capabilities, Prompt, Score

WORDS = {"happy": "positive", "sad": "negative"}


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": f"text {n} is {word}", "completion": label}
        for n in range(22)
        for word, label in WORDS.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


class Scored(WordLM):
    """Takes the label that a rule of the prompt's turns names."""

    def __init__(self, rule: Callable[[list[tuple[str, str]], str], str]) -> None:
        super().__init__()
        self.rule = rule

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        found = []
        for prompt, label in pairs:
            assert not isinstance(prompt, str)
            turns = [turn.content for turn in prompt]
            shown = list(zip(turns[:-1:2], turns[1::2], strict=True))
            taken = label.strip() == self.rule(shown, _question(turns[-1]))
            found.append(Score(-0.1 if taken else -5.0, 1, False))
        return found


def _measured(data: str, rule: Callable[[list[tuple[str, str]], str], str]) -> dict[str, Any]:
    rows = load(data, answered=True).rows
    labels = labels_of(rows)
    shown = [row.example() for row in rows[:4]]
    return run(Scored(rule), rows[4:], conditions(shown, labels), labels)


def _question(turn: str) -> str:
    """The last input of a turn that may hold examples too."""
    return turn.rpartition("Input: ")[2].partition("\nLabel:")[0]


def _word(text: str) -> str:
    return text.rpartition(" ")[2]


def test_a_model_that_knows_the_task_needs_no_right_labels(data: str) -> None:
    found = _measured(data, lambda shown, text: next(v for k, v in WORDS.items() if k in text))
    assert {one["accuracy"]["value"] for one in found.values()} == {1.0}
    assert found[GOLD]["difference"] is None and found["wrong labels"]["p_value"] == 1


def test_a_model_that_copies_labels_is_led_astray_by_wrong_ones(data: str) -> None:
    def copies(shown: list[tuple[str, str]], text: str) -> str:
        return next((label for said, label in shown if _word(said) == _word(text)), "positive")

    found = _measured(data, copies)
    assert found[GOLD]["accuracy"]["value"] == 1 and found["order 1"]["accuracy"]["value"] == 1
    assert found["wrong labels"]["accuracy"]["value"] == 0
    # What is copied is no label then, and all labels are as likely.
    assert found["other label space"]["accuracy"]["value"] == 0.5
    assert found["other inputs"]["accuracy"]["value"] == 0.5
    assert found["no examples"]["accuracy"]["value"] == 0.5
    assert found["wrong labels"]["p_value"] < 0.01
    gap = found["wrong labels"]["difference"]
    assert gap["value"] == -1 and gap["low"] <= -1 <= gap["high"]


def test_a_model_that_says_the_last_label_depends_on_order(data: str) -> None:
    found = _measured(data, lambda shown, text: shown[-1][1] if shown else "positive")
    assert {one["accuracy"]["value"] for one in found.values()} <= {0.0, 0.5}


def test_conditions_change_one_thing(data: str) -> None:
    rows = load(data, answered=True).rows
    shown = [row.example() for row in rows[:4]]
    tried = conditions(shown, ("negative", "positive"), 1)
    assert list(tried)[:4] == ["no examples", "1 examples", "2 examples", GOLD]
    for name in ("order 1", "order 2", "order 3"):
        assert set(tried[name].examples) == set(shown)
    for name in ("random labels", "wrong labels", "other label space"):
        assert [e.messages for e in tried[name].examples] == [e.messages for e in shown]
    assert not {e.completion for e in tried["other label space"].examples} & set(WORDS.values())
    assert [e.completion for e in tried["other inputs"].examples] == [e.completion for e in shown]
    assert conditions(shown, ("negative", "positive"), 1) == tried
    with pytest.raises(ConfigError, match="one by one"):
        conditions(shown[:1], ("negative", "positive"))


def test_rows_without_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "free.jsonl"
    rows = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="few labels"):
        labels_of(load(str(path), answered=True).rows)


def test_the_verb_writes_where_there_are_no_probabilities(data: str, tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    lines = [
        {"match": "happy\\s*(\\nLabel:)?\\s*$", "reply": "positive"},
        {"match": ".", "reply": "negative"},
    ]
    script.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = called("icl", f"scripted:{script}", "--data", data, "--shots", "2", "--limit", "10")
    assert done.code == 0, done.found
    assert done.found["labels"] == ["negative", "positive"] and done.found["n"] == 10
    assert done.found["conditions"]["gold"]["accuracy"]["value"] == 1
    assert Capabilities("x").score is False


def test_a_file_with_one_label_first_is_asked_of_both(tmp_path: Path) -> None:
    """Who always says the same is right as often as that label is there, not always."""
    script, data = tmp_path / "script.jsonl", tmp_path / "sorted.jsonl"
    script.write_text(json.dumps({"match": ".", "reply": "yes"}) + "\n")
    rows = [
        {"prompt": f"q{n}", "completion": "yes" if n < 60 else "no", "id": str(n)}
        for n in range(120)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ("icl", f"scripted:{script}", "--data", str(data), "--shots", "2", "--limit", "40")
    done = called(*asked)
    assert done.code == 0, done.found
    assert 0.3 < done.found["conditions"]["gold"]["accuracy"]["value"] < 0.7
    assert called(*asked).found == done.found
